"""Outlines lie inside nuclei, part those that touch, and leave all else alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.segmentation import find_boundaries

from segpipe.errors import ShapeMismatch
from segpipe.report.overlays import inner_outlines, overlay
from segpipe.tables.palette import UNTYPED, colour_of


@st.composite
def label_maps(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    return rng.integers(0, draw(st.integers(1, 4)) + 1, shape).astype(np.int32)


@given(label_maps())
def test_outlines_are_the_inner_boundaries(labels):
    expected = find_boundaries(labels, mode="inner", connectivity=1)
    np.testing.assert_array_equal(inner_outlines(labels), expected)


@given(label_maps())
def test_only_outlines_are_drawn_over(labels):
    rgb = np.full((*labels.shape, 3), 77, np.uint8)
    drawn = overlay(rgb, labels)
    lines = inner_outlines(labels)
    assert (drawn[lines] == UNTYPED).all()
    assert (drawn[~lines] == 77).all()
    assert (rgb == 77).all()


def test_each_nucleus_is_drawn_in_the_colour_of_its_type():
    labels = np.kron([[1, 0], [2, 3]], np.ones((4, 4), int)).astype(np.int32)
    type_ids = np.array([0, 2, 0, 1], np.uint8)
    drawn = overlay(np.zeros((8, 8, 3), np.uint8), labels, type_ids)
    lines = inner_outlines(labels)
    for own, type_id in ((1, 2), (2, 0), (3, 1)):
        assert (drawn[lines & (labels == own)] == colour_of(type_id)).all()


def test_every_type_has_a_colour():
    assert all(len(colour_of(type_id)) == 3 for type_id in range(256))
    assert len({colour_of(type_id) for type_id in range(9)}) == 9


def test_pixels_of_another_box_are_refused():
    with pytest.raises(ShapeMismatch, match=r"\(3, 4\)"):
        overlay(np.zeros((3, 4, 3), np.uint8), np.zeros((4, 4), np.int32))
