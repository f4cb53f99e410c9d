"""Downsamples, alpha and resolutions, as every reader uses them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segpipe.slides._pyramid import downsample, is_level_of, over_white
from segpipe.slides._resolution import judged, number

SIDES = st.integers(1, 300_000)


def halved(side: int, times: int, rounding) -> int:
    for _ in range(times):
        side = max(1, rounding(side / 2))
    return side


@given(
    height=st.integers(2_000, 300_000),
    width=st.integers(2_000, 300_000),
    times=st.integers(0, 6),
    rounding=st.sampled_from([math.floor, math.ceil, round]),
)
def test_repeated_halving_is_a_power_of_two(height, width, times, rounding):
    shape = (halved(height, times, rounding), halved(width, times, rounding))
    assert downsample((height, width), shape) == 2.0**times
    assert times == 0 or is_level_of((height, width), shape)


@pytest.mark.parametrize("whole", [3, 5, 10])
def test_other_whole_numbers_are_kept(whole):
    assert downsample((9_000, 6_000), (9_000 // whole, 6_000 // whole)) == whole


def test_a_downsample_that_is_not_whole_is_the_mean():
    assert downsample((10_000, 10_000), (4_000, 4_000)) == 2.5


@given(height=SIDES, width=SIDES)
def test_a_picture_is_no_level_of_itself(height, width):
    assert (height, width) == (1, 1) or not is_level_of(
        (height, width), (height, width)
    )


def test_pictures_of_other_proportions_are_no_levels():
    assert not is_level_of((2967, 2220), (463, 387))
    assert not is_level_of((2967, 2220), (431, 1280))
    assert not is_level_of((100, 100), (200, 200))
    assert is_level_of((3567, 4443), (1783, 2221))


@given(hnp.arrays(np.uint8, (3, 4, 4)))
def test_alpha_over_white_is_the_exact_blend_rounded(rgba):
    colour, alpha = rgba[..., :3].astype(float), rgba[..., 3:] / 255
    exact = colour * alpha + 255 * (1 - alpha)
    assert np.abs(over_white(rgba) - exact).max() <= 0.5 + 1e-9


@given(hnp.arrays(np.uint8, (3, 4, 4)))
def test_premultiplied_colour_gets_the_white_that_shines_through(rgba):
    read = over_white(rgba, is_premultiplied=True)
    assert (read >= rgba[..., :3]).all()
    np.testing.assert_array_equal(read[rgba[..., 3] == 0], 255)
    opaque = rgba[..., 3] == 255
    np.testing.assert_array_equal(read[opaque], rgba[opaque][:, :3])


def test_the_limits_of_belief():
    assert judged(0.25, 0.25).mpp == 0.25
    assert judged(0.250, 0.254).mpp == pytest.approx(0.252)
    assert judged(0.250, 0.256).mpp is None
    for size in (0.0, -0.25, 0.049, 20.1, math.nan, math.inf):
        assert judged(size, size).mpp is None
        assert judged(size, size).note


@pytest.mark.parametrize(("text", "value"), [("0.25", 0.25), (" 0,2528 ", 0.2528)])
def test_numbers_in_headers_are_read(text, value):
    assert number(text) == value


def test_what_is_no_number_is_nan():
    assert math.isnan(number("unknown"))
