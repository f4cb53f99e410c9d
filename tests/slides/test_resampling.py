"""Resampling: any box is the crop of the whole, means are means, constants stay."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import ShapeMismatch
from segpipe.geometry import Box
from segpipe.resampling import resample, source_box

SCALES = st.one_of(
    st.sampled_from([Fraction(n) for n in (1, 2, 3, 4, 8, 16)]),
    st.fractions(Fraction(1, 4), 6, max_denominator=1000).filter(lambda s: s > 0),
    st.sampled_from([Fraction(5000, 2527), Fraction(499, 250), Fraction(2, 3)]),
)


def level(box: Box, seed: int = 0):
    """Give level pixels that depend on their place alone, endless in all directions."""
    y = np.arange(box.y0, box.y1)[:, None, None].astype(np.int64)
    x = np.arange(box.x0, box.x1)[None, :, None].astype(np.int64)
    mixed = (y * 7919 + x * 104729 + np.arange(3) * 31 + seed) * 2654435761
    return ((mixed >> 11) % 256).astype(np.uint8)


def canvas(box: Box, scale: Fraction, margin: int = 0):
    source = source_box(box, scale).grown(margin)
    return resample(level(source), box=box, scale=scale, source=source)


def exact(box: Box, scale: Fraction):
    """Average by fractions of level pixels, slowly, in floating point."""
    source = source_box(box, scale)

    def weights(first, stop, start, size):
        rows = np.zeros((stop - first, size))
        for i in range(first, stop):
            for j in range(size):
                low = max(i * scale, Fraction(start + j))
                high = min((i + 1) * scale, Fraction(start + j + 1))
                rows[i - first, j] = max(Fraction(0), high - low) / scale
        return rows

    down = weights(box.y0, box.y1, source.y0, source.height)
    across = weights(box.x0, box.x1, source.x0, source.width)
    return np.einsum("yr,rcs,xc->yxs", down, level(source).astype(float), across)


@settings(deadline=None, max_examples=150)
@given(
    scale=SCALES,
    corner=st.tuples(*[st.integers(-500, 200_000)] * 2),
    size=st.tuples(*[st.integers(1, 40)] * 2),
    cut=st.tuples(*[st.floats(0, 1)] * 4),
    margin=st.integers(0, 3),
)
def test_any_box_is_the_crop_of_the_whole(scale, corner, size, cut, margin):
    y, x = corner
    box = Box(y, x, y + size[0], x + size[1])
    ys, xs = sorted((cut[0], cut[1])), sorted((cut[2], cut[3]))
    part = Box(
        *(y + int(ys[0] * size[0]), x + int(xs[0] * size[1])),
        *(y + int(ys[1] * size[0]), x + int(xs[1] * size[1])),
    )
    whole = canvas(box, scale)
    np.testing.assert_array_equal(
        canvas(part, scale, margin), whole[part.relative_to(box).slices()]
    )


@settings(deadline=None, max_examples=40)
@given(
    scale=SCALES.filter(lambda s: s >= 1),
    y=st.integers(-20, 1000),
    x=st.integers(-20, 1000),
)
def test_shrinking_is_the_area_average(scale, y, x):
    box = Box(y, x, y + 5, x + 4)
    taps = float(scale) + 2
    tolerance = 0.5 + taps / 64
    assert np.abs(canvas(box, scale) - exact(box, scale)).max() <= tolerance


@settings(deadline=None)
@given(scale=st.sampled_from([Fraction(2), Fraction(4), Fraction(16)]))
def test_powers_of_two_are_averaged_exactly_and_rounded_half_up(scale):
    box = Box(3, 5, 12, 15)
    np.testing.assert_array_equal(
        canvas(box, scale), np.floor(exact(box, scale) + 0.5).astype(np.uint8)
    )


@settings(deadline=None)
@given(scale=SCALES, value=st.integers(0, 255))
def test_a_constant_picture_stays_constant(scale, value):
    box = Box(100, 200, 117, 213)
    source = source_box(box, scale)
    flat = np.full((*source.shape, 3), value, np.uint8)
    assert (resample(flat, box=box, scale=scale, source=source) == value).all()


@settings(deadline=None)
@given(scale=st.fractions(Fraction(1, 4), Fraction(99, 100), max_denominator=1000))
def test_enlarging_a_slope_gives_the_slope_at_the_centres(scale):
    box = Box(20, 30, 60, 70)
    source = source_box(box, scale)
    slope = np.broadcast_to(
        np.arange(source.x0, source.x1)[None, :, None] * 2, (*source.shape, 3)
    ).astype(np.uint8)
    read = resample(slope, box=box, scale=scale, source=source)
    centres = (np.arange(box.x0, box.x1) + 0.5) * float(scale) - 0.5
    assert np.abs(read[0, :, 0] - 2 * centres).max() <= 0.51


def test_the_same_scale_changes_nothing():
    box = Box(-3, 4, 9, 11)
    assert source_box(box, Fraction(1)) == box
    np.testing.assert_array_equal(canvas(box, Fraction(1)), level(box))


@settings(deadline=None)
@given(
    scale=SCALES, y=st.integers(-99, 99), x=st.integers(-99, 99), side=st.integers(1, 9)
)
def test_the_source_is_no_larger_than_needed(scale, y, x, side):
    source = source_box(Box(y, x, y + side, x + side), scale)
    most = side * float(scale) + 2 if scale >= 1 else (side - 1) * float(scale) + 3
    assert source.height <= most
    assert source.width <= most
    assert source.y0 <= y * scale
    assert source.y1 >= (y + side) * scale - (0 if scale >= 1 else 1)


def test_an_empty_box_is_empty():
    box = Box(5, 5, 5, 9)
    assert canvas(box, Fraction(3)).shape == (0, 4, 3)


def test_too_few_level_pixels_are_refused():
    box = Box(0, 0, 4, 4)
    lacking = Box(0, 0, 8, 7)
    with pytest.raises(ShapeMismatch, match="needs level"):
        resample(level(lacking), box=box, scale=Fraction(2), source=lacking)


def test_pixels_of_another_shape_than_said_are_refused():
    box = Box(0, 0, 4, 4)
    source = source_box(box, Fraction(2))
    with pytest.raises(ShapeMismatch, match="given are"):
        resample(level(source)[:-1], box=box, scale=Fraction(2), source=source)


@pytest.mark.parametrize("scale", [Fraction(0), Fraction(-2), Fraction(0.1)])
def test_scales_that_no_integer_holds_are_refused(scale):
    with pytest.raises(ValueError, match="limit_denominator"):
        source_box(Box(0, 0, 4, 4), scale)


@pytest.mark.parametrize("scale", [Fraction(2), Fraction(5000, 2527)])
def test_shrinking_is_fast(benchmark, scale):
    box = Box(0, 0, 512, 512)
    source = source_box(box, scale)
    rgb = level(source)
    benchmark(resample, rgb, box=box, scale=scale, source=source)
