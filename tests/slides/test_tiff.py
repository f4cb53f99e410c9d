"""TIFF in its varieties: layouts, pyramids, resolutions, and what is refused."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from slide_samples import MPP, SHAPE, TILE_PX, pixels, pyramid, tiles

from segpipe.errors import SlideCorrupt, SlideError, SlideTooLarge, SlideUnsupported
from segpipe.geometry import Box
from segpipe.slides import open_slide, reader_of

APERIO = Path(__file__).parents[2] / "examples" / "cmu-1-small-region.svs"
TILED = {"tile": (TILE_PX, TILE_PX), "photometric": "rgb", "metadata": None}


def write(path: Path, *pages, **options) -> Path:
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as file:
        for page in pages:
            file.write(page, **(TILED | options))
    return path


def read(path: Path, level: int = 0):
    with open_slide(path) as slide:
        return slide.read(Box.of_shape(slide.levels[level].shape), level)


LAYOUTS = {
    "tiles": {},
    "deflate": {"compression": "deflate", "predictor": True},
    "lzw": {"compression": "lzw"},
    "lossless jpeg 2000": {"compression": "jpeg2000"},
    "png": {"compression": "png"},
    "strips": {"tile": None, "rowsperstrip": 7},
    "one strip": {"tile": None, "rowsperstrip": SHAPE[0], "compression": "deflate"},
    "tile larger than the picture": {"tile": (512, 512)},
    "big": {"bigtiff": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_lossless_layout_gives_the_pixels_written(layout, tmp_path):
    path = write(tmp_path / "a.tif", pixels(), **LAYOUTS[layout])
    np.testing.assert_array_equal(read(path), pixels())


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_both_byte_orders_are_read(byteorder, tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as file:
        file.write(pixels(), **TILED)
    np.testing.assert_array_equal(read(path), pixels())


@pytest.mark.parametrize("tile", [(TILE_PX, TILE_PX), None])
def test_colours_stored_in_separate_planes_are_put_together(tile, tmp_path):
    planes = np.ascontiguousarray(pixels().transpose(2, 0, 1))
    path = write(tmp_path / "a.tif", planes, planarconfig="separate", tile=tile)
    np.testing.assert_array_equal(read(path), pixels())


@pytest.mark.parametrize("quality", [80, 95])
def test_jpeg_in_ycbcr_keeps_its_colours(quality, tmp_path):
    smooth = np.broadcast_to(np.uint8([200, 90, 160]), (*SHAPE, 3)).copy()
    path = write(
        tmp_path / "a.tif",
        smooth,
        compression="jpeg",
        compressionargs={"level": quality},
    )
    inner = (slice(0, 256), slice(0, 384))  # the writer pads tiles at the edge in black
    assert np.abs(read(path)[inner].astype(int) - smooth[inner]).max() <= 3


def test_a_tile_without_bytes_is_white(tmp_path):
    stored = [tile.tobytes() for tile in tiles(pixels())]
    stored[1] = b""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(
            iter(imagecodecs.zlib_encode(t) if t else t for t in stored),
            shape=pixels().shape,
            dtype="uint8",
            compression="deflate",
            **TILED,
        )
    expected = pixels()
    expected[:TILE_PX, TILE_PX : 2 * TILE_PX] = 255
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("unassalpha", [155, 105, 255]), ("assocalpha", [255, 155, 255])],
)
def test_alpha_is_laid_over_white(kind, expected, tmp_path):
    rgba = np.empty((*SHAPE, 4), np.uint8)
    rgba[:] = [105, 30, 255, 170] if kind == "unassalpha" else [170, 70, 170, 170]
    rgba[:9] = [0, 0, 0, 0]
    path = write(tmp_path / "a.tif", rgba, extrasamples=[kind])
    assert (read(path)[:9] == 255).all()
    assert (read(path)[9:] == expected).all()


def test_a_fourth_channel_that_is_not_alpha_is_left_out(tmp_path):
    four = np.concatenate([pixels(), pixels()[..., :1]], axis=2)
    path = write(tmp_path / "a.tif", four, extrasamples=["unspecified"])
    np.testing.assert_array_equal(read(path), pixels())


def test_levels_below_the_scan_are_its_pyramid(tmp_path):
    path = tmp_path / "a.ome.tif"
    full, half, quarter = pyramid(3)
    about = {"axes": "YXS", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(full, subifds=2, **(TILED | {"metadata": about}))
        for level in (half, quarter):
            file.write(level, subfiletype=1, **TILED)
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        assert slide.mpp == MPP
        assert slide.properties["format"] == "OME-TIFF"
    np.testing.assert_array_equal(read(path, 2), quarter)


def test_series_declared_separately_become_one_pyramid(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as file:
        for level in pyramid(3):
            file.write(level, **(TILED | {"metadata": {"axes": "YXS"}}))
    with tifffile.TiffFile(path) as file:
        assert len(file.series) == 3
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [1, 2, 4]


def test_the_scan_need_not_be_the_first_page(tmp_path):
    full, half = pyramid()
    path = write(tmp_path / "a.tif", half, full)
    np.testing.assert_array_equal(read(path), full)
    np.testing.assert_array_equal(read(path, 1), half)


def test_label_and_macro_are_no_levels(tmp_path):
    full, half = pyramid()
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(full, **TILED)
        file.write(
            np.ascontiguousarray(full[::3, ::3]), photometric="rgb", metadata=None
        )
        file.write(half, **TILED)
        file.write(np.zeros((100, 90, 3), np.uint8), **TILED)
    with open_slide(path) as slide:
        assert [level.shape for level in slide.levels] == [
            full.shape[:2],
            half.shape[:2],
        ]
        assert slide.properties["pictures left out"] == "2"


def test_the_aperio_example_is_read_as_openslide_reads_it():
    with open_slide(APERIO) as ours, open_slide(APERIO, reader="openslide") as theirs:
        assert reader_of(APERIO).name == "tiff"
        assert ours.levels == theirs.levels
        assert ours.mpp == theirs.mpp == 0.499
        assert ours.properties["objective"] == "20"
        assert ours.properties["pictures left out"] == "3"
        box = Box(700, 500, 1300, 1500)
        np.testing.assert_array_equal(ours.read(box, 0), theirs.read(box, 0))


# Resolution


@pytest.mark.parametrize(
    ("options", "mpp"),
    [
        ({"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}, 0.25),
        ({"resolution": (101_600, 101_600), "resolutionunit": "INCH"}, 0.25),
        ({"resolution": (40_000, 39_800), "resolutionunit": "CENTIMETER"}, 0.250628),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (96, 96), "resolutionunit": "INCH"}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (2_004_008, 2_004_008), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (40_000, 20_000), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (40_000, 40_000), "resolutionunit": "NONE"}, None),
        ({"description": "Aperio Image Library v11|AppMag = 40|MPP = 0.2527"}, 0.2527),
        ({"description": "Aperio Image Library v11|AppMag = 40"}, None),
        ({"description": "Aperio Image Library v11|MPP = 0"}, None),
        ({"description": "Aperio Image Library v11|MPP = unknown"}, None),
    ],
)
def test_mpp_is_believed_only_of_a_microscope(options, mpp, tmp_path):
    path = write(tmp_path / "a.tif", pixels(), **options)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(mpp, rel=1e-5) if mpp else slide.mpp is None


@pytest.mark.parametrize(
    ("about", "mpp"),
    [
        ({"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, 0.5),
        ({"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm",
          "PhysicalSizeY": 0.0005, "PhysicalSizeYUnit": "mm"}, 0.5),
        ({"PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_ome_states_mpp_with_its_unit(about, mpp, tmp_path):
    path = tmp_path / "a.ome.tif"
    write(path, pixels(), metadata={"axes": "YXS"} | about)
    with open_slide(path) as slide:
        assert slide.mpp == mpp


def test_imagej_states_mpp_in_its_own_unit(tmp_path):
    path = tmp_path / "a.tif"
    per_um = 1 / MPP
    tifffile.imwrite(
        path,
        pixels(),
        imagej=True,
        resolution=(per_um, per_um),
        metadata={"unit": "um"},
    )
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(MPP)


def test_a_statement_that_is_not_believed_is_told(tmp_path):
    path = write(tmp_path / "a.tif", pixels(), resolution=(72, 72))
    with open_slide(path) as slide:
        assert "352.8" in slide.properties["resolution"]


def test_ome_xml_with_entities_is_not_expanded(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><OME xmlns="x">&b;</OME>'
    path = write(tmp_path / "a.tif", pixels(), description=bomb)
    with open_slide(path) as slide:
        assert slide.mpp is None
        assert "OME-XML" in slide.properties["resolution"]


# What is refused


def test_fluorescence_is_refused_by_name(tmp_path):
    channels = np.zeros((3, *SHAPE), np.uint8)
    path = write(tmp_path / "if.tif", *channels, photometric="minisblack")
    with pytest.raises(SlideUnsupported, match=r"fluorescence of 3 channels.*RGB"):
        open_slide(path)


@pytest.mark.parametrize(
    ("page", "options", "words"),
    [
        (np.zeros(SHAPE, np.uint8), {"photometric": "minisblack"}, "grey picture"),
        (np.zeros((*SHAPE, 3), np.uint16), {}, "of 16 bit"),
        (
            np.zeros((*SHAPE, 2), np.uint8),
            {"photometric": "minisblack", "planarconfig": "contig"},
            "2 channel",
        ),
        (np.zeros((*SHAPE, 5), np.uint8), {}, "5 channel"),
        (np.zeros((*SHAPE, 4), np.uint8), {"photometric": "separated"}, "separated"),
    ],
)
def test_what_is_not_brightfield_rgb_is_refused(page, options, words, tmp_path):
    path = write(tmp_path / "a.tif", page, **options)
    with pytest.raises(SlideUnsupported, match=words):
        open_slide(path)


def test_focal_planes_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", pixels(), pixels(seed=1))
    with pytest.raises(SlideUnsupported, match="2 RGB pictures"):
        open_slide(path)


def patched(path: Path, tag: str, value: int) -> Path:
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[tag].overwrite(value)
    return path


def test_an_unknown_compression_is_refused_with_its_number(tmp_path):
    path = patched(write(tmp_path / "a.tif", pixels()), "Compression", 52479)
    with pytest.raises(SlideUnsupported, match="52479"):
        open_slide(path)


def test_more_pixels_than_any_slide_has_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", pixels())
    patched(path, "ImageWidth", 2**30)
    with pytest.raises(SlideTooLarge, match=str(2**30)):
        open_slide(path)


def test_a_strip_too_large_to_decode_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    path = write(
        path, pixels(), tile=None, rowsperstrip=SHAPE[0], compression="deflate"
    )
    patched(path, "ImageWidth", 2**20)
    with pytest.raises(SlideTooLarge, match=f"{SHAPE[0]} x {2**20}"):
        open_slide(path)


def test_fewer_tiles_than_the_picture_needs_are_refused(tmp_path):
    path = patched(write(tmp_path / "a.tif", pixels()), "ImageWidth", 4 * SHAPE[1])
    with pytest.raises(SlideCorrupt, match="needs 130 tiles"):
        open_slide(path)


def test_a_tile_that_can_not_be_decoded_is_refused_at_opening(tmp_path):
    path = write(tmp_path / "a.tif", pixels(), compression="jpeg")
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(SlideCorrupt, match="level 0"):
        open_slide(path)


@pytest.mark.parametrize("page_last", [True, False])
def test_an_aperio_slide_cut_off_anywhere_is_refused(page_last, tmp_path):
    content = APERIO.read_bytes()
    path = tmp_path / "cut.svs"
    start = 1_930_000 if page_last else 8
    for n_bytes in np.linspace(start, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(SlideCorrupt, match=r"cut\.svs"):
            open_slide(path)


def test_noise_in_the_header_never_raises_a_foreign_error(tmp_path):
    path = write(tmp_path / "a.tif", pixels((80, 90)), compression="deflate")
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    with tifffile.TiffFile(path) as file:
        header = file.pages[0].offset
    for _ in range(150):
        damaged = bytearray(content)
        for at in rng.integers(header, header + 250, 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except SlideError as error:
            assert str(path) in str(error)  # noqa: PT017
