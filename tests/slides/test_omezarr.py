"""OME-Zarr: both versions, the order of axes, units, and what is refused."""

import json
import shutil

import numpy as np
import pytest
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
