import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segpipe.errors import ShapeMismatch
from segpipe.targets import UNTYPED, hv_target, prob_target, type_target, uncut

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
