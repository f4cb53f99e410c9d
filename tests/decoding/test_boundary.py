"""The region and the contour decoder find what they were told, and see no farther."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from synthetic import BOUNDARY, ellipses, noisy

from segpipe.decoding.boundary import (
    ContourDecoding,
    RegionDecoding,
    decode_contour,
    decode_region,
)
from segpipe.errors import SettingsError, ShapeMismatch
from segpipe.labels.renaming import are_equivalent

EVERY = pytest.mark.parametrize("decoder", BOUNDARY)
SEEDS = st.integers(0, 10**6)


def planes(*rows):
    return np.array([[255 * int(c) for c in row] for row in rows], np.uint8)


def test_a_line_between_two_is_given_back_half_to_either():
    prob = planes("0000000000", "0111001110", "0111001110", "0000000000")
    expected = np.zeros((4, 10), int)
    expected[1:3, 1:5], expected[1:3, 5:9] = 1, 2
    found = decode_region(prob, decoding=RegionDecoding())
    np.testing.assert_array_equal(found, expected)


def test_wider_and_narrower_gaps_than_a_line_stay_background():
    prob = planes("111101111000111100", "111101111000111100")
    found = decode_region(prob, decoding=RegionDecoding())
    np.testing.assert_array_equal(found > 0, prob > 0)
    found = decode_region(prob, decoding=RegionDecoding(line_px=3))
    assert found[:, 9:12].all()


def test_outlines_part_what_touches_and_are_given_back():
    prob = planes(*["0111111110"] * 3)
    contour = planes(*["1100110011"] * 3)
    found = decode_contour(prob, contour, decoding=ContourDecoding())
    assert found.tolist() == [[0, 1, 1, 1, 1, 2, 2, 2, 2, 0]] * 3


def test_the_dip_decides_where_two_part():
    prob = np.full((3, 12), 255, np.uint8)
    prob[:, 4:9] = 150
    prob[:, 7] = 130
    found = decode_region(prob, decoding=RegionDecoding(edge_cost=60))
    assert np.all(found[:, :7] == 1)
    assert np.all(found[:, 8:] == 2)


@EVERY
@given(seed=SEEDS, side=st.integers(0, 3))
def test_a_pixel_farther_than_the_support_changes_nothing(decoder, seed, side):
    rng = np.random.default_rng(seed)
    _, maps_of, decode, decoding = BOUNDARY[decoder]
    decoding = replace(decoding, reach_px=24)
    support = decoding.support_px
    labels = ellipses(rng, (50 + support, 50 + support), 120)
    maps = [np.rot90(m, side) for m in noisy(maps_of(labels), rng, 0.3)]
    others = [m.copy() for m in maps]
    for other in others:
        other[-10:] = rng.integers(0, 256, other[-10:].shape)
    kept = slice(0, maps[0].shape[0] - 10 - support)
    one = decode(maps, decoding)[kept]
    assert are_equivalent(one, decode(others, decoding)[kept])


@EVERY
@given(seed=SEEDS, noise=st.sampled_from([0.0, 0.2, 0.8]))
def test_instances_are_one_piece_and_numbered_in_raster_order(decoder, seed, noise):
    rng = np.random.default_rng(seed)
    _, maps_of, decode, decoding = BOUNDARY[decoder]
    labels = decode(
        noisy(maps_of(ellipses(rng, (80, 70), 60)), rng, noise, blur=1.0), decoding
    )
    found, first = np.unique(labels[labels > 0], return_index=True)
    assert np.array_equal(found, np.arange(1, len(found) + 1))
    assert np.all(np.diff(first) > 0)
    for label in found:
        assert ndimage.label(labels == label)[1] == 1


@EVERY
def test_nothing_comes_of_nothing(decoder):
    n_maps, _, decode, decoding = BOUNDARY[decoder]
    for shape in ((0, 7), (40, 40)):
        assert not decode([np.zeros(shape, np.uint8)] * n_maps, decoding).any()


def test_maps_of_unequal_shape_are_refused():
    with pytest.raises(ShapeMismatch, match=r"\(8, 9\).*\(8, 8\)"):
        decode_contour(
            np.zeros((8, 8), np.uint8),
            np.zeros((8, 9), np.uint8),
            decoding=ContourDecoding(),
        )


def test_constants_out_of_range_are_refused_with_the_range():
    with pytest.raises(SettingsError, match="line_px is 9; the region decoder takes 0"):
        RegionDecoding(line_px=9)
    with pytest.raises(SettingsError, match="contour is 0; the contour decoder takes"):
        ContourDecoding(contour=0)
