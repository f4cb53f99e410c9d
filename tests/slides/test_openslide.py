"""What OpenSlide reads: transparency, odd downsamples, and the formats left to it."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slide_samples import (
    MPP,
    TILE_PX,
    pixels,
    tiles,
    write_philips,
    write_tiff,
    write_trestle,
)

from segpipe.errors import SlideTooLarge, SlideUnsupported
from segpipe.geometry import Box
from segpipe.slides import open_slide, reader_of


@pytest.fixture(scope="module")
def trestle(tmp_path_factory):
    return write_trestle(tmp_path_factory.mktemp("trestle"))


def test_transparent_pixels_are_white(tmp_path):
    sample = write_philips(tmp_path)
    with open_slide(sample.path) as slide:
        corner = slide.read(Box(0, 0, TILE_PX + 1, TILE_PX + 1), 0)
    assert (corner[:TILE_PX, :TILE_PX] == 255).all()
    np.testing.assert_array_equal(corner[-1, -1], sample.levels[0][TILE_PX, TILE_PX])


def test_level_0_is_read_as_written(trestle):
    with open_slide(trestle.path) as slide:
        assert slide.mpp == MPP
        box = Box(30, 7, 211, 300)
        expected = trestle.levels[0][box.slices()]
        np.testing.assert_array_equal(slide.read(box, 0), expected)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(y=st.integers(-20, 160), x=st.integers(-20, 220), side=st.integers(1, 90))
def test_a_downsample_that_is_not_whole_moves_no_pixel(trestle, y, x, side):
    with open_slide(trestle.path) as slide:
        height, width = slide.levels[1].shape
        around = slide.read(Box(-120, -120, height + 200, width + 200), 1)
        box = Box(y, x, y + side, x + side)
        expected = around[box.shifted(120, 120).slices()]
        np.testing.assert_array_equal(slide.read(box, 1), expected)


def test_blocks_of_an_odd_level_meet_without_a_seam(tmp_path):
    sample = write_trestle(tmp_path, shape=(1301, 1203))
    with open_slide(sample.path) as slide:
        height, width = slide.levels[1].shape
        read = slide.read(Box(0, 0, height, width), 1)
    inner = (slice(0, height - 8), slice(0, width - 8))
    apart = np.abs(read[inner].astype(int) - sample.levels[1][inner])
    assert np.median(apart) <= 1  # OpenSlide places the level to half a pixel


def test_formats_that_are_tiff_in_name_only_go_to_openslide(tmp_path, trestle):
    assert reader_of(trestle.path).name == "openslide"
    assert reader_of(write_philips(tmp_path).path).name == "openslide"


def test_a_plain_tiff_gives_the_same_pixels_through_either_reader(tmp_path):
    sample = write_tiff(tmp_path)
    box = Box(10, 20, 60, 66)
    with (
        open_slide(sample.path) as one,
        open_slide(sample.path, reader="openslide") as other,
    ):
        assert one.levels == other.levels
        assert one.mpp == other.mpp == MPP
        for level in range(len(one.levels)):
            np.testing.assert_array_equal(one.read(box, level), other.read(box, level))


def test_jpeg_2000_in_unsaid_ycbcr_keeps_its_colours(tmp_path):
    """Aperio's compression 33003: YCbCr that only the number of the method tells."""
    rgb = np.repeat(np.repeat(pixels((40, 52)), 8, axis=0), 8, axis=1)
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as file:
        file.write(
            iter(_ycbcr_codestream(tile) for tile in tiles(rgb)),
            shape=rgb.shape,
            dtype="uint8",
            tile=(TILE_PX, TILE_PX),
            photometric="rgb",
            compression=33003,
            description="Aperio Image Library v10|AppMag = 40|MPP = 0.25",
            metadata=None,
        )
    assert reader_of(path).name == "openslide"
    with open_slide(path) as slide:
        read = slide.read(Box.of_shape(rgb.shape[:2]), 0)
        assert slide.mpp == MPP
    assert np.abs(read.astype(int) - rgb).max() <= 3
    with pytest.raises(SlideUnsupported, match="33003"):
        open_slide(path, reader="tiff")


def _ycbcr_codestream(rgb):
    """Encode as YCbCr (ITU-T T.871) without saying so."""
    to_ycbcr = np.array(
        [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
    )
    ycbcr = np.rint(rgb @ to_ycbcr.T + [0, 128, 128]).clip(0, 255).astype(np.uint8)
    return imagecodecs.jpeg2k_encode(ycbcr, mct=False, codecformat="j2k", level=0)


def test_tiles_too_large_to_decode_are_refused_before_the_process_dies(tmp_path):
    path = write_trestle(tmp_path).path
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag in ("TileWidth", "TileLength"):
            file.pages[0].tags[tag].overwrite(2**16 - 16)
        offsets = file.pages[0].tags["TileOffsets"]
        offsets.overwrite(offsets.value[:1])
        sizes = file.pages[0].tags["TileByteCounts"]
        sizes.overwrite(sizes.value[:1])
    with pytest.raises(SlideTooLarge, match="65520 x 65520"):
        open_slide(path, reader="openslide")


def test_what_openslide_does_not_know_is_refused(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"nothing")
    with pytest.raises(SlideUnsupported, match="OpenSlide"):
        open_slide(path, reader="openslide")
