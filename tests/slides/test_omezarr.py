"""OME-Zarr: both versions, the order of axes, units, and what is refused."""

import json
import shutil

import numcodecs
import numpy as np
import pytest
import zarr
from slide_samples import MPP, describe_zarr, pixels, write_omezarr

from segpipe.errors import SlideCorrupt, SlideTooLarge, SlideUnsupported
from segpipe.geometry import Box
from segpipe.slides import find_slides, open_slide

UNIT = {"type": "space", "unit": "micrometer"}


def axes(names: str, unit: dict[str, str] = UNIT):
    return [{"name": n} | (unit if n in "zyx" else {}) for n in names]


def whole(path):
    with open_slide(path) as slide:
        return slide.read(Box.of_shape(slide.levels[0].shape), 0)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_both_versions_are_read(zarr_format, tmp_path):
    sample = write_omezarr(tmp_path, zarr_format)
    with open_slide(sample.path) as slide:
        assert slide.mpp == MPP
        assert [level.downsample for level in slide.levels] == [1, 2]
    np.testing.assert_array_equal(whole(sample.path), sample.levels[0])


@pytest.mark.parametrize("names", ["cyx", "yxc", "tczyx", "zyxc"])
def test_axes_come_in_any_order_with_others_of_size_one(names, tmp_path):
    order = ["yxc".index(n) for n in names if n in "yxc"]
    extra = tuple(i for i, n in enumerate(names) if n in "tz")
    array = np.expand_dims(pixels().transpose(order), extra)
    path = tmp_path / "a.zarr"
    describe_zarr(path, [array], axes(names), [[1, 1, MPP, MPP, MPP][-len(names) :]])
    np.testing.assert_array_equal(whole(path), pixels())


@pytest.mark.parametrize(
    ("unit", "size", "mpp"),
    [
        ("micrometer", 0.5, 0.5),
        ("nanometer", 500, 0.5),
        ("millimeter", 0.0005, 0.5),
        ("parsec", 0.5, None),
        ("micrometer", 100, None),
    ],
)
def test_mpp_is_the_scale_in_its_unit(unit, size, mpp, tmp_path):
    path = tmp_path / "a.zarr"
    described = axes("yxc", {"type": "space", "unit": unit})
    describe_zarr(path, [pixels()], described, [[size, size, 1]])
    with open_slide(path) as slide:
        assert slide.mpp == mpp


def test_without_a_unit_there_is_no_mpp(tmp_path):
    path = tmp_path / "a.zarr"
    describe_zarr(path, [pixels()], axes("yxc", {}), [[0.5, 0.5, 1]])
    with open_slide(path) as slide:
        assert slide.mpp is None


def test_the_first_image_of_a_bioformats2raw_folder_is_the_slide(tmp_path):
    sample = write_omezarr(tmp_path)
    outer = tmp_path / "outer.zarr"
    outer.mkdir()
    shutil.move(sample.path, outer / "0")
    attributes = {"ome": {"bioformats2raw.layout": 3}}
    node = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (outer / "zarr.json").write_text(json.dumps(node))
    np.testing.assert_array_equal(whole(outer), sample.levels[0])
    assert find_slides(tmp_path) == (outer,)


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (np.zeros((2, 80, 70), np.uint8), "cyx"),
        (np.zeros((3, 80, 70), np.uint16), "cyx"),
        (np.zeros((80, 70), np.uint8), "yx"),
        (np.zeros((3, 5, 80, 70), np.uint8), "czyx"),
    ],
)
def test_what_is_not_one_plane_of_rgb_is_refused(array, names, tmp_path):
    path = tmp_path / "a.zarr"
    describe_zarr(path, [array], axes(names), [[1.0] * array.ndim])
    with pytest.raises(SlideUnsupported, match="8-bit RGB"):
        open_slide(path)


@pytest.mark.parametrize(
    ("colours", "is_rgb"),
    [
        (("FF0000", "00FF00", "0000FF"), True),
        (("FFFFFF", "FFFFFF", "FFFFFF"), True),
        (("0000FF", "00FF00", "FF0000"), False),
        (("00FFFF", "FF00FF", "FFFF00"), False),
    ],
)
def test_three_channels_dyed_otherwise_are_fluorescence(colours, is_rgb, tmp_path):
    path = tmp_path / "a.zarr"
    omero = {"channels": [{"color": colour} for colour in colours]}
    planes = pixels().transpose(2, 0, 1)
    describe_zarr(path, [planes], axes("cyx"), [[1, MPP, MPP]], omero=omero)
    if is_rgb:
        np.testing.assert_array_equal(whole(path), pixels())
    else:
        with pytest.raises(SlideUnsupported, match="fluorescence"):
            open_slide(path)


def test_a_zarr_without_pictures_is_refused(tmp_path):
    node = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (tmp_path / "zarr.json").write_text(json.dumps(node))
    with pytest.raises(SlideUnsupported, match="multiscales"):
        open_slide(tmp_path)


@pytest.mark.parametrize("ome", [
    {"multiscales": [{}]},
    {"multiscales": "all"},
    {"multiscales": [{"axes": axes("yxc"), "datasets": []}]},
    {"multiscales": [{"axes": axes("yxc"), "datasets": [{"path": "missing"}]}]},
])  # fmt: skip
def test_metadata_that_can_not_be_followed_are_refused(ome, tmp_path):
    node = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    (tmp_path / "zarr.json").write_text(json.dumps(node))
    with pytest.raises(SlideCorrupt, match=r"damaged|can't be followed"):
        open_slide(tmp_path)


def test_more_pixels_than_any_slide_has_are_refused(tmp_path):
    sample = write_omezarr(tmp_path)
    file = sample.path / "0" / "zarr.json"
    node = json.loads(file.read_text())
    node["shape"] = [3, 2**20, 2**20]
    file.write_text(json.dumps(node))
    with pytest.raises(SlideTooLarge, match=str(2**20)):
        open_slide(sample.path)


def with_codecs(folder, **changed):
    """Write a slide and change how its finest level says it is packed."""
    sample = write_omezarr(folder, zarr_format=2)
    file = sample.path / "0" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    return sample.path


@pytest.mark.parametrize(
    "changed",
    [
        {"compressor": {"id": "lzma"}},
        {"compressor": {"id": "zstd"}, "filters": [{"id": "gzip"}]},
        {"compressor": {"id": "zstd"}, "filters": [{"id": "delta", "dtype": "u1"}]},
    ],
)
def test_a_codec_that_is_not_known_to_be_safe_is_refused(changed, tmp_path):
    with pytest.raises(SlideUnsupported, match="may run code"):
        open_slide(with_codecs(tmp_path, **changed))


def test_pickle_as_a_codec_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises((SlideUnsupported, SlideCorrupt)):
        open_slide(with_codecs(tmp_path, filters=[{"id": "pickle"}]))


@pytest.mark.parametrize("codec", ["zstd", "gzip", "blosc", None])
def test_known_codecs_are_read(codec, tmp_path):
    compressor = {
        "zstd": numcodecs.Zstd(),
        "gzip": numcodecs.GZip(),
        "blosc": numcodecs.Blosc(),
        None: None,
    }[codec]
    sample = write_omezarr(tmp_path, zarr_format=2)
    group = zarr.open_group(sample.path, mode="a")
    level = sample.levels[0].transpose(2, 0, 1)
    group.create_array(
        "0",
        shape=level.shape,
        chunks=(3, 64, 64),
        dtype="uint8",
        compressors=compressor,
        overwrite=True,
    )[...] = level
    with open_slide(sample.path) as slide:
        pixels = slide.read(Box.of_shape(slide.levels[0].shape), 0)
    np.testing.assert_array_equal(pixels, sample.levels[0])


@pytest.mark.parametrize("box", [Box(0, 0, 300, 412), Box(10, 20, 100, 90)])
def test_shards_are_read_whole_and_in_part(box, tmp_path):
    sample = write_omezarr(tmp_path)
    group = zarr.open_group(sample.path, mode="a")
    level = sample.levels[0].transpose(2, 0, 1)
    shape = {"chunks": (3, 64, 64), "shards": (3, 128, 128)}
    group.create_array("0", shape=level.shape, dtype="uint8", overwrite=True, **shape)[
        ...
    ] = level
    with open_slide(sample.path) as slide:
        pixels = slide.read(box, 0)
    np.testing.assert_array_equal(pixels, sample.levels[0][box.slices()])


@pytest.mark.parametrize("box", [Box(0, 0, 128, 128), Box(10, 20, 30, 40)])
def test_a_chunk_of_a_shard_that_swells_is_refused(box, tmp_path):
    sample = write_omezarr(tmp_path)
    group = zarr.open_group(sample.path, mode="a")
    shape = {"chunks": (3, 64, 64), "shards": (3, 128, 128)}
    full = np.random.default_rng(0).integers(0, 255, (3, 300, 412), np.uint8)
    group.create_array("0", shape=full.shape, dtype="uint8", overwrite=True, **shape)[
        ...
    ] = full
    shard = sample.path / "0" / "c" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    swelling = numcodecs.Zstd().encode(bytes(2**20))
    content[: len(swelling)] = swelling
    shard.write_bytes(content)
    with (
        open_slide(sample.path) as slide,
        pytest.raises(SlideCorrupt, match=r"1048576 bytes or more; 12288 are the most"),
    ):
        slide.read(box, 0)


@pytest.mark.parametrize("ome", ["text", 3, ["a"], None])
def test_metadata_of_another_kind_are_no_picture(ome, tmp_path):
    zarr.open_group(tmp_path, mode="w").attrs["ome"] = ome
    with pytest.raises(SlideUnsupported, match="multiscales"):
        open_slide(tmp_path)
