"""Measuring equals scikit-image where it defines the quantity, in any box."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from skimage.measure import label, regionprops

from segpipe.errors import ShapeMismatch, StageFailed
from segpipe.geometry import Box
from segpipe.tables.frame import Frame
from segpipe.tables.measuring import measure
from segpipe.tables.schema import COLUMNS, Packed
from segpipe.tables.stains import EOSIN, HEMATOXYLIN

MPP = 0.5
DOWNSAMPLE = 1.9841


@st.composite
def label_maps(draw):
    """Noise of any density in blocks of 1..4 px: pinches, holes, lines, pixels."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    block = draw(st.integers(1, 4))
    density = draw(st.floats(0.05, 0.95))
    n_classes = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = rng.random((height, width)) < density
    classes = rng.integers(1, n_classes + 1, (height, width))
    coarse = np.where(noise, classes, 0)
    return label(np.kron(coarse, np.ones((block, block), int)), connectivity=1).astype(
        np.int32
    )


def measured(labels, ids=None, *, corner=(0, 0), canvas_shape=None, window_px=40):
    """Measure over pixels and maps that are a fixed function of the canvas position."""
    box = Box.of_shape(labels.shape).shifted(*corner)
    y, x = np.mgrid[box.y0 : box.y1, box.x0 : box.x1]
    hashed = (y * 7919 + x * 104729 + y * x * 31) % 1009
    planes = np.stack([hashed % 251, (hashed * 3) % 256, (hashed * 7) % 199]).astype(
        np.uint8
    )
    types = np.stack([(hashed * 11) % 256, (hashed * 13) % 256]).astype(np.uint8)
    frame = Frame(
        box=box,
        mpp=MPP,
        downsample=DOWNSAMPLE,
        canvas_shape=canvas_shape or labels.shape,
        window_px=window_px,
        type_names=("round", "long"),
    )
    ids = np.unique(labels[labels > 0]) if ids is None else ids
    maps = {"prob": (hashed % 256).astype(np.uint8), "type": types}
    return measure(labels, ids, planes=planes, maps=maps, frame=frame), planes, maps


def same_bytes(left, right):
    for name, column in left.items():
        other = right[name]
        if isinstance(column, Packed):
            assert column.buffer.tobytes() == other.buffer.tobytes(), name
            assert_array_equal(column.offsets, other.offsets, name)
        else:
            assert column.dtype == other.dtype, name
            assert column.tobytes() == other.tobytes(), name


@settings(max_examples=60, deadline=None)
@given(label_maps())
def test_shape_columns_equal_scikit_image(labels):
    table, _, _ = measured(labels)
    regions = regionprops(labels)
    for name, scale, attribute in [
        ("area_um2", MPP**2, "area"),
        ("perimeter_um", MPP, "perimeter_crofton"),
        ("major_axis_um", MPP, "axis_major_length"),
        ("minor_axis_um", MPP, "axis_minor_length"),
        ("eccentricity", 1, "eccentricity"),
        ("solidity", 1, "solidity"),
    ]:
        expected = np.array([getattr(region, attribute) for region in regions]) * scale
        assert_allclose(table[name], expected, rtol=1e-6, atol=1e-6, err_msg=name)
    centroids = np.array([region.centroid for region in regions]).reshape(-1, 2) + 0.5
    extents = np.array([region.bbox for region in regions]).reshape(-1, 4)
    for axis, name in enumerate("yx"):
        assert_allclose(table[f"{name}_l0_px"], centroids[:, axis] * DOWNSAMPLE, 1e-9)
        assert_allclose(table[f"{name}_um"], centroids[:, axis] * MPP, 1e-9)
        lower, upper = extents[:, axis], extents[:, axis + 2]
        assert_allclose(table[f"{name}min_l0_px"], lower * DOWNSAMPLE, 1e-12)
        assert_allclose(table[f"{name}max_l0_px"], upper * DOWNSAMPLE, 1e-12)


@settings(max_examples=60, deadline=None)
@given(label_maps())
def test_orientation_equals_scikit_image_where_there_is_a_long_axis(labels):
    table, _, _ = measured(labels)
    expected = np.array([region.orientation for region in regionprops(labels)])
    turned = np.abs(table["orientation_rad"] - expected)
    apart = np.minimum(turned, np.pi - turned)
    assert np.all(apart[table["eccentricity"] > 1e-3] < 1e-6)


def hull_of(mask):
    """Count the lattice points of the hull: every point against every line."""
    points = np.argwhere(mask) * 2
    sides = np.concatenate(
        [points + step for step in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    )
    centres = np.argwhere(np.ones_like(mask)) * 2
    inside = np.ones(len(centres), bool)
    for a in sides:
        for b in sides[np.any(sides != a, axis=1)]:
            normal = np.array([a[1] - b[1], b[0] - a[0]])
            if np.all((sides - a) @ normal >= 0):
                inside &= (centres - a) @ normal >= 0
    return inside.sum()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_solidity_counts_the_pixels_of_the_exact_hull(height, width, seed):
    noise = np.random.default_rng(seed).random((height, width)) < 0.7
    labels = label(noise, connectivity=1).astype(np.int32)
    table, _, _ = measured(labels)
    for row, region in enumerate(regionprops(labels)):
        assert table["solidity"][row] == region.area / hull_of(region.image)


@settings(max_examples=40, deadline=None)
@given(label_maps(), st.tuples(*[st.integers(0, 9)] * 4), st.data())
def test_a_row_is_the_same_bytes_in_any_box_and_any_company(labels, margins, data):
    top, left, bottom, right = margins
    canvas_shape = (labels.shape[0] + 20, labels.shape[1] + 20)
    ids = np.unique(labels[labels > 0])
    chosen = np.array(
        [i for i in ids if data.draw(st.booleans(), label=str(i))], np.uint32
    )
    table, _, _ = measured(labels, chosen, corner=(10, 10), canvas_shape=canvas_shape)
    wider = np.pad(labels, ((top, bottom), (left, right)))
    corner = (10 - top, 10 - left)
    again, _, _ = measured(wider, chosen, corner=corner, canvas_shape=canvas_shape)
    same_bytes(table, again)
    whole, _, _ = measured(labels, corner=(10, 10), canvas_shape=canvas_shape)
    rows = np.isin(ids, chosen)
    for name, column in table.items():
        if not isinstance(column, Packed):
            assert column.tobytes() == whole[name][rows].tobytes(), name


@settings(max_examples=40, deadline=None)
@given(label_maps())
def test_stain_type_and_prob_columns_equal_plain_numpy(labels):
    table, planes, maps = measured(labels)
    stains = np.array([HEMATOXYLIN, EOSIN, np.cross(HEMATOXYLIN, EOSIN)])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    density = -np.log10(np.maximum(planes, 1) / 255)
    amounts = np.einsum("cyx,cs->syx", density, np.linalg.inv(stains))
    for row, own in enumerate(np.unique(labels[labels > 0])):
        mask = labels == own
        for stain, name in enumerate(["hematoxylin", "eosin"]):
            values = amounts[stain][mask]
            assert_allclose(table[f"{name}_od_mean"][row], values.mean(), atol=1e-4)
            assert_allclose(table[f"{name}_od_std"][row], values.std(), atol=1e-4)
        steps = [
            np.abs(np.diff(np.where(mask, amounts[0], np.nan), axis=axis))
            for axis in (0, 1)
        ]
        steps = np.concatenate([step[np.isfinite(step)] for step in steps])
        contrast = steps.mean() if steps.size else 0
        assert_allclose(table["hematoxylin_od_contrast"][row], contrast, atol=1e-4)
        sums = maps["type"][:, mask].sum(axis=1, dtype=int)
        winner = sums.argmax() + 1 if sums.any() else 0
        assert table["type_id"][row] == winner
        assert table["type_name"][row] == ["", "round", "long"][winner]
        assert_allclose(table["type_prob"][row], sums.max() / 255 / mask.sum())
        assert_allclose(table["prob"][row], maps["prob"][mask].mean() / 255)


def measured_plainly(labels, rgb=(255, 255, 255), *, window_px=16):
    """Measure every nucleus of an untyped map over pixels of one colour."""
    shape = labels.shape
    frame = Frame(
        box=Box.of_shape(shape),
        mpp=1.0,
        downsample=1.0,
        canvas_shape=shape,
        window_px=window_px,
    )
    planes = np.broadcast_to(np.array(rgb, np.uint8)[:, None, None], (3, *shape))
    ids = np.unique(labels[labels > 0])
    maps = {"prob": np.full(shape, 255, np.uint8)}
    return measure(labels, ids, planes=planes.copy(), maps=maps, frame=frame)


@pytest.mark.parametrize(
    ("stain", "found", "absent"),
    [
        (HEMATOXYLIN, "hematoxylin_od_mean", "eosin_od_mean"),
        (EOSIN, "eosin_od_mean", "hematoxylin_od_mean"),
    ],
)
def test_a_pure_stain_is_all_found_and_the_other_absent(stain, found, absent):
    amount = 0.4
    rgb = np.rint(255 * 10 ** (-amount * np.array(stain) / np.linalg.norm(stain)))
    table = measured_plainly(np.ones((3, 3), np.int32), rgb)
    assert_allclose(table[found], amount, atol=0.01)
    assert_allclose(table[absent], 0, atol=0.01)
    assert table["hematoxylin_od_std"] == table["hematoxylin_entropy"] == 0


def test_black_pixels_have_a_finite_optical_density():
    table = measured_plainly(np.ones((3, 3), np.int32), (0, 0, 0))
    assert np.isfinite(table["hematoxylin_od_mean"]).all()


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.data())
@settings(deadline=None)
def test_seam_distance_is_to_the_nearest_inner_line_of_the_window_lattice(
    height, width, window_px, data
):
    y = data.draw(st.integers(0, height - 1))
    x = data.draw(st.integers(0, width - 1))
    labels = np.zeros((height, width), np.int32)
    labels[y, x] = 1
    distances = [abs(y + 0.5 - line) for line in range(window_px, height, window_px)]
    distances += [abs(x + 0.5 - line) for line in range(window_px, width, window_px)]
    found = measured_plainly(labels, window_px=window_px)["seam_distance_um"][0]
    assert np.isnan(found) if not distances else found == min(distances)


def test_only_nuclei_at_the_canvas_edge_touch_it():
    labels = np.diag([1, 2, 3, 4]).astype(np.int32)
    touches = measured_plainly(labels)["touches_slide_edge"]
    assert touches.tolist() == [True, False, False, True]


def test_measuring_gives_the_columns_of_the_schema_in_its_order():
    table = measured_plainly(np.ones((2, 2), np.int32))
    assert list(table) == [column.name for column in COLUMNS]


def test_no_nuclei_give_empty_columns():
    table = measured_plainly(np.zeros((5, 5), np.int32))
    assert {len(column) for column in table.values()} == {0}


def test_unsigned_labels_measure_the_same():
    labels = np.array([[1, 1, 0], [0, 1, 2]], np.int32)
    same_bytes(measured_plainly(labels), measured_plainly(labels.astype(np.uint32)))


def test_a_nucleus_that_is_not_in_the_label_map_is_refused_by_its_id():
    with pytest.raises(StageFailed, match=r"1 of 2 nuclei .* first is 7"):
        measured(np.ones((3, 3), np.int32), np.array([1, 7]))


def test_a_nucleus_in_two_pieces_is_refused_by_its_id():
    with pytest.raises(StageFailed, match="Nucleus 4 is in several pieces: 1 of"):
        measured(np.array([[4, 0], [0, 4]], np.int32))


@pytest.mark.parametrize("ids", [[2, 1], [1, 1], [0, 1], [[1]]])
def test_ids_that_do_not_ascend_from_one_are_refused(ids):
    with pytest.raises(ShapeMismatch, match="ascend"):
        measured(np.ones((3, 3), np.int32), np.array(ids))


MAPS = {"prob": np.zeros((3, 3), np.uint8)}
PLANES = np.zeros((3, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("planes", "maps", "message"),
    [
        (PLANES[:, :2], MAPS, r"planes is \(3, 2, 3\)"),
        (PLANES, {"prob": np.zeros((3, 4), np.uint8)}, r"prob is \(1, 3, 4\)"),
        (PLANES[:2], MAPS, r"planes is uint8 of shape \(2, 3, 3\).* 3 channels"),
        (PLANES, {"prob": np.zeros((3, 3))}, "prob is float64"),
        (PLANES, {**MAPS, "type": PLANES}, "type is uint8 .* 0 channels"),
    ],
)
def test_arrays_of_another_shape_or_kind_are_refused_by_name(planes, maps, message):
    frame = Frame(
        box=Box.of_shape((3, 3)),
        mpp=1.0,
        downsample=1.0,
        canvas_shape=(3, 3),
        window_px=3,
    )
    labels = np.ones((3, 3), np.int32)
    with pytest.raises(ShapeMismatch, match=message):
        measure(labels, np.array([1]), planes=planes, maps=maps, frame=frame)
