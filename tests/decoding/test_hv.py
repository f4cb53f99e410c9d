"""The HV decoder finds what it was told, and sees no farther than it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from synthetic import ellipses, maps_of

from segpipe.decoding.hv import HVDecoding, decode_hv
from segpipe.errors import SettingsError, ShapeMismatch
from segpipe.labels.renaming import are_equivalent

DECODING = HVDecoding()


def disjoint(rng, shape, n_nuclei):
    """Ellipses that may touch but don't overlap: drawn only where all is free."""
    labels = np.zeros(shape, np.int32)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    for label in range(1, n_nuclei + 1):
        y, x = rng.uniform(8, shape[0] - 8), rng.uniform(8, shape[1] - 8)
        a, b = rng.uniform(4.5, 8, 2)
        inside = ((rows - y) / a) ** 2 + ((cols - x) / b) ** 2 <= 1
        if not labels[inside].any():
            labels[inside] = label
    return labels


@given(st.integers(0, 10**6))
def test_decoding_the_targets_gives_the_labels(seed):
    rng = np.random.default_rng(seed)
    labels = disjoint(rng, (90, 90), 40)
    prob, hv = maps_of(labels)
    exact = HVDecoding(smooth_px=0)
    assert are_equivalent(decode_hv(prob, hv, decoding=exact), labels)


@given(st.integers(0, 10**6), st.integers(0, 3))
def test_a_pixel_farther_than_the_support_changes_nothing(seed, side):
    rng = np.random.default_rng(seed)
    support = DECODING.support_px
    labels = ellipses(rng, (60 + support, 60 + support), 120)
    prob, hv = maps_of(labels, rng, 0.3, 1.0)
    prob, hv = np.rot90(prob, side), np.rot90(hv, side, axes=(1, 2))
    other_prob, other_hv = prob.copy(), hv.copy()
    other_prob[-10:] = rng.integers(0, 256, other_prob[-10:].shape)
    other_hv[:, -10:] = rng.integers(-127, 128, other_hv[:, -10:].shape)
    kept = slice(0, prob.shape[0] - 10 - support)
    one = decode_hv(prob, hv, decoding=DECODING)[kept]
    other = decode_hv(other_prob, other_hv, decoding=DECODING)[kept]
    assert are_equivalent(one, other)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.2, 0.8]))
def test_instances_are_one_piece_and_numbered_in_raster_order(seed, noise):
    rng = np.random.default_rng(seed)
    prob, hv = maps_of(ellipses(rng, (80, 70), 60), rng, noise, 1.0)
    labels = decode_hv(prob, hv, decoding=DECODING)
    found, first = np.unique(labels[labels > 0], return_index=True)
    assert np.array_equal(found, np.arange(1, len(found) + 1))
    assert np.all(np.diff(first) > 0)
    for label in found:
        assert ndimage.label(labels == label)[1] == 1


def test_nothing_comes_of_nothing():
    empty = np.zeros((0, 7), np.uint8)
    assert decode_hv(empty, np.zeros((2, 0, 7), np.int8), decoding=DECODING).size == 0
    blank = np.zeros((40, 40), np.uint8)
    hv = np.zeros((2, 40, 40), np.int8)
    assert not decode_hv(blank, hv, decoding=DECODING).any()


def test_maps_of_unequal_shape_are_refused():
    with pytest.raises(ShapeMismatch, match=r"\(2, Y, X\)"):
        decode_hv(
            np.zeros((8, 8), np.uint8), np.zeros((2, 8, 9), np.int8), decoding=DECODING
        )


def test_constants_out_of_range_are_refused_with_the_range():
    with pytest.raises(SettingsError, match="reach_px is 0; the HV decoder takes 1 to"):
        HVDecoding(reach_px=0)
