"""Boxes behave as sets of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.arrays import to_planes, to_rgb
from segpipe.errors import ShapeMismatch
from segpipe.geometry import Box

_spans = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted)
boxes = st.builds(lambda ys, xs: Box(ys[0], xs[0], ys[1], xs[1]), _spans, _spans)


def pixels(box):
    return {(y, x) for y in range(box.y0, box.y1) for x in range(box.x0, box.x1)}


@given(boxes, boxes)
def test_intersection_is_that_of_the_pixels(one, other):
    common = pixels(one) & pixels(other)
    assert pixels(one.intersection(other)) == common
    assert one.intersects(other) == bool(common)
    assert one.intersection(other).area == len(common)


@given(boxes, boxes)
def test_slices_cut_the_pixels_of_the_box(outer, inner):
    array = np.arange(400).reshape(20, 20)
    both = inner.intersection(outer)
    cut = array[outer.slices()][both.relative_to(outer).slices()]
    assert np.array_equal(cut, array[both.slices()]) or both.is_empty


def test_a_box_inside_out_is_refused():
    with pytest.raises(ValueError, match="inside out"):
        Box(5, 0, 4, 10)


def test_a_box_before_its_array_has_no_slices():
    with pytest.raises(ValueError, match="starts before its array"):
        Box(-1, 0, 4, 10).slices()


def test_planes_and_rgb_are_the_same_pixels(rng):
    rgb = rng.integers(0, 256, (7, 5, 3)).astype(np.uint8)
    assert np.array_equal(to_rgb(to_planes(rgb)), rgb)
    with pytest.raises(ShapeMismatch):
        to_planes(rgb[..., :2])
