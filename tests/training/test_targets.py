import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segpipe.errors import ShapeMismatch
from segpipe.targets import (
    UNTYPED,
    border_weight,
    boxes_target,
    contour_target,
    distance_target,
    hv_target,
    masks_target,
    near_two,
    prob_target,
    separation_line,
    size_weight,
    two_nearest,
    type_target,
    uncut,
)

LABELS = hnp.arrays(np.int32, (7, 9), elements=st.sampled_from([0, 0, 3, 5, 65_535]))


def hv_by_definition(labels):
    """One instance at a time, as the paper describes it."""
    hv = np.zeros((2, *labels.shape))
    for label in np.unique(labels[labels > 0]):
        y, x = np.nonzero(labels == label)
        for axis, coordinate in enumerate((x, y)):
            offset = coordinate - np.floor(coordinate.mean() + 0.5)
            low, high = -offset.min(), offset.max()
            scaled = np.where(offset < 0, offset / max(low, 1), offset / max(high, 1))
            hv[axis, y, x] = scaled
    return hv


@given(LABELS)
def test_offsets_follow_the_definition(labels):
    np.testing.assert_allclose(hv_target(labels), hv_by_definition(labels), atol=1e-6)


def test_offsets_of_a_square_run_from_minus_one_to_one():
    labels = np.zeros((7, 7), np.int32)
    labels[1:6, 1:6] = 9
    hv = hv_target(labels)
    assert hv[0, 3].tolist() == [0, -1, -0.5, 0, 0.5, 1, 0]
    np.testing.assert_array_equal(hv[1], hv[0].T)


def test_a_label_map_without_background_is_all_nucleus():
    labels = np.full((3, 3), 4, np.int32)
    assert hv_target(labels)[0].tolist() == [[-1, 0, 1]] * 3


@given(LABELS)
def test_mirroring_mirrors_the_offsets_up_to_rounding_of_the_centre(labels):
    mirrored = hv_target(np.ascontiguousarray(labels[:, ::-1]))[1][:, ::-1]
    np.testing.assert_array_equal(mirrored, hv_target(labels)[1])


@given(LABELS)
def test_foreground_is_where_ids_are(labels):
    np.testing.assert_array_equal(prob_target(labels), labels > 0)


def test_unknown_types_and_background_have_no_plane():
    types = np.array([[0, 1, 2, UNTYPED]], np.uint8)
    target = type_target(types, (1, 4), 2)
    assert target.tolist() == [[[0, 1, 0, 0]], [[0, 0, 1, 0]]]
    assert not type_target(None, (1, 4), 2).any()


def test_types_of_another_shape_are_refused():
    with pytest.raises(ShapeMismatch, match=r"\(2, 2\).*\(3, 3\)"):
        type_target(np.zeros((2, 2), np.uint8), (3, 3), 2)


def test_instances_at_the_rim_or_beside_padding_count_as_cut():
    labels = np.zeros((9, 9), np.int32)
    labels[0:2, 4] = 1
    labels[4, 4] = 2
    labels[6, 6] = 3
    valid = np.ones((9, 9), bool)
    valid[7:] = False
    trusted = uncut(labels, valid)
    assert not trusted[labels == 1].any()
    assert trusted[labels == 2].all()
    assert not trusted[labels == 3].any()
    assert trusted[labels == 0].all()


def has_another(labels, width_px, *, of_instances):
    """Whether a pixel of another label lies within half the width, one by one."""
    found = np.zeros(labels.shape, bool)
    pixels = np.argwhere(np.ones(labels.shape, bool))
    for y, x in pixels:
        near = ((pixels - (y, x)) ** 2).sum(axis=1) <= (width_px / 2) ** 2
        seen = labels[tuple(pixels[near].T)]
        others = seen[seen != labels[y, x]]
        found[y, x] = (others > 0).any() if of_instances else others.size > 0
    return found


@given(LABELS, st.sampled_from([1, 2, 3, 4, 5.5]))
def test_contours_are_where_another_label_is_within_half_their_width(labels, width_px):
    found = contour_target(labels, width_px)
    expected = has_another(labels, width_px, of_instances=False)
    np.testing.assert_array_equal(found, expected)


@given(LABELS, st.sampled_from([2, 3, 4]))
def test_separation_lines_are_where_another_instance_is_near(labels, width_px):
    line = separation_line(labels, width_px)
    expected = has_another(labels, width_px, of_instances=True) & (labels > 0)
    np.testing.assert_array_equal(line, expected)


@given(LABELS)
def test_nothing_that_is_left_beside_a_separation_line_touches_another(labels):
    left = np.where(separation_line(labels), 0, labels)
    for one, other in ((left[1:], left[:-1]), (left[:, 1:], left[:, :-1])):
        assert not ((one != other) & (one > 0) & (other > 0)).any()


def distances_one_by_one(labels):
    """Return distances to the two nearest instances, by a transform of each."""
    ids = np.unique(labels[labels > 0])
    each = [ndimage.distance_transform_edt(labels != i) for i in ids]
    missing = [np.full(labels.shape, np.inf)] * 2
    return np.sort(np.stack([*each, *missing]), axis=0)[:2]


@given(
    hnp.arrays(
        np.int32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
        elements=st.sampled_from([0] * 12 + [3, 5, 8, 65_535]),
    )
)
def test_the_two_nearest_instances_are_exact(labels):
    np.testing.assert_allclose(
        np.sqrt(two_nearest(labels)), distances_one_by_one(labels), atol=1e-9
    )


@given(LABELS)
def test_border_weights_follow_the_published_formula(labels):
    d1, d2 = distances_one_by_one(labels)
    near = 10 * np.exp(-((d1 + d2) ** 2) / (2 * 5**2))
    expected = np.where(labels > 0, 3, 0.5 + near)
    found = border_weight(labels, background=0.5, foreground=3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@given(LABELS)
def test_depths_are_distances_in_units_of_each_instances_deepest(labels):
    expected = np.zeros(labels.shape)
    for label in np.unique(labels[labels > 0]):
        depth = ndimage.distance_transform_edt(np.pad(labels == label, 1))[1:-1, 1:-1]
        expected += depth / depth.max()
    np.testing.assert_allclose(distance_target(labels), expected, atol=1e-4)


@given(LABELS)
def test_boxes_and_masks_hold_every_instance_once(labels):
    boxes, masks = boxes_target(labels), masks_target(labels)
    ids = np.unique(labels[labels > 0])
    assert boxes.shape == (len(ids), 4)
    assert masks.shape == (len(ids), *labels.shape)
    for label, box, mask in zip(ids, boxes, masks, strict=True):
        np.testing.assert_array_equal(mask, labels == label)
        y, x = np.nonzero(mask)
        assert box.tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]


@given(LABELS, st.integers(1, 3))
def test_near_two_is_where_a_window_holds_two_instances(labels, reach):
    padded = np.pad(labels, reach)
    side = 2 * reach + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    expected = [
        [len(np.unique(window[window > 0])) > 1 for window in row] for row in windows
    ]
    np.testing.assert_array_equal(near_two(labels, reach_px=reach), expected)


@given(LABELS)
def test_weights_by_size_lie_between_a_pixel_and_an_instance(labels):
    weight = size_weight(labels, area_px=9, most=100)
    assert (weight[labels == 0] == 1).all()
    for label in np.unique(labels[labels > 0]):
        inside = labels == label
        np.testing.assert_allclose(weight[inside], 3 / np.sqrt(inside.sum()), rtol=1e-6)


def test_weights_by_size_are_bounded():
    labels = np.zeros((12, 12), np.int32)
    labels[0, 0] = 65_535
    labels[2:, 2:] = 7
    weight = size_weight(labels, area_px=10, most=2)
    assert (weight[0, 0], weight[5, 5], weight[1, 1]) == (2, 0.5, 1)
