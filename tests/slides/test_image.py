"""Flat pictures: modes, densities, arrays, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from slide_samples import MPP, SHAPE, pixels

from segpipe.errors import SlideCorrupt, SlideTooLarge, SlideUnsupported
from segpipe.geometry import Box
from segpipe.slides import open_slide


def whole(path):
    with open_slide(path) as slide:
        return slide.read(Box.of_shape(slide.levels[0].shape), 0)


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_lossless_pictures_are_read_as_written(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels()).save(path)
    np.testing.assert_array_equal(whole(path), pixels())


def test_jpeg_keeps_its_colours(tmp_path):
    path = tmp_path / "a.jpg"
    smooth = np.broadcast_to(np.uint8([200, 90, 160]), (*SHAPE, 3))
    Image.fromarray(smooth).save(path, quality=95)
    assert np.abs(whole(path).astype(int) - smooth).max() <= 2


def test_an_array_on_disk_is_a_slide(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, pixels())
    np.testing.assert_array_equal(whole(path), pixels())
    with open_slide(path) as slide:
        assert slide.mpp is None


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.dstack([pixels(), np.full(SHAPE, 255, np.uint8)])
    rgba[:9, :, 3] = 0
    rgba[9] = [105, 30, 255, 170]
    path = tmp_path / "a.png"
    Image.fromarray(rgba).save(path)
    read = whole(path)
    assert (read[:9] == 255).all()
    assert (read[9] == [155, 105, 255]).all()
    np.testing.assert_array_equal(read[10:], pixels()[10:])


def test_a_palette_of_colours_is_rgb(tmp_path):
    few = (pixels() // 128 * 127).astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(few).quantize(8).save(path)
    np.testing.assert_array_equal(whole(path), few)


@pytest.mark.parametrize(
    ("um", "mpp"), [(0.25, 0.25), (0.5, 0.5), (10, 10), (352.8, None), (84.7, None)]
)
def test_density_is_believed_only_of_a_microscope(um, mpp, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels()).save(path, dpi=(25_400 / um, 25_400 / um))
    with open_slide(path) as slide:
        assert slide.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-3))


def test_a_picture_without_density_has_no_mpp(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels()).save(path)
    with open_slide(path) as slide:
        assert slide.mpp is None


def test_pixels_that_are_not_square_have_no_mpp(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels()).save(path, dpi=(25_400 / MPP, 12_700 / MPP))
    with open_slide(path) as slide:
        assert slide.mpp is None
        assert "not square" in slide.properties["resolution"]


@pytest.mark.parametrize("mode", ["L", "1", "I;16", "LA"])
def test_grey_is_refused(mode, tmp_path):
    path = tmp_path / "a.png"
    Image.new(mode, (70, 60)).save(path)
    with pytest.raises(SlideUnsupported, match="60 x 70"):
        open_slide(path)


def test_printers_colours_are_refused(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (70, 60)).save(path)
    with pytest.raises(SlideUnsupported, match="CMYK"):
        open_slide(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((60, 70), np.uint8),
        np.zeros((3, 60, 70), np.uint8),
        np.zeros((60, 70, 3), np.float32),
    ],
)
def test_arrays_of_another_kind_are_refused(array, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, array)
    with pytest.raises(SlideUnsupported, match=r"\(Y, X, 3\)"):
        open_slide(path)


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(SlideCorrupt, match="plain numbers"):
        open_slide(path)


def test_a_decompression_bomb_is_refused_unopened(tmp_path):
    path = tmp_path / "a.png"
    file = io.BytesIO()
    Image.fromarray(pixels((8, 8))).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(SlideTooLarge, match="tiled TIFF"):
        open_slide(path)


def test_a_large_flat_picture_is_read_without_a_warning(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(pixels()).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SHAPE[0] * SHAPE[1] - 1)
    np.testing.assert_array_equal(whole(path), pixels())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SHAPE[0] * SHAPE[1] // 2 - 1)
    with pytest.raises(SlideTooLarge, match="flat picture too large"):
        open_slide(path)
