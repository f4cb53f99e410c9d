"""Pixel, warping and Rand errors equal what their papers say, one pair at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from segpipe.errors import ShapeMismatch
from segpipe.metrics import count_pixels, pixel_scores
from segpipe.metrics.overlap import overlap
from segpipe.metrics.warping import SIMPLE, parted, warped

LABELS = hnp.arrays(np.int32, (5, 6), elements=st.sampled_from([0, 0, 1, 2, 900]))
MASK = hnp.arrays(np.bool_, (5, 6))
EIGHT = np.ones((3, 3), int)


def errors(truth, found):
    return pixel_scores(count_pixels(truth, found, overlap(truth, found)))


def pairs_of(labels):
    """Whether each ordered pair of pixels shares a label."""
    return labels.ravel()[:, None] == labels.ravel()[None, :]


@given(LABELS, LABELS)
def test_rand_error_counts_pairs_that_disagree(truth, found):
    n = truth.size
    expected = (pairs_of(truth) != pairs_of(found)).sum() / (n * (n - 1))
    assert errors(truth, found)["rand_error"] == pytest.approx(expected)


@given(LABELS, LABELS)
def test_adapted_rand_error_is_that_of_pairs_in_the_true_foreground(truth, found):
    inside = truth > 0
    if not inside.any():
        assert np.isnan(errors(truth, found)["adapted_rand_error"])
        return
    singles = np.where(found > 0, found, -1 - np.arange(found.size).reshape(5, 6))
    in_truth, in_found = pairs_of(truth[inside]), pairs_of(singles[inside])
    both = (in_truth & in_found).sum()
    precision, recall = both / in_found.sum(), both / in_truth.sum()
    expected = 1 - 2 * precision * recall / (precision + recall)
    assert errors(truth, found)["adapted_rand_error"] == pytest.approx(expected)


@given(LABELS, LABELS)
def test_pixel_error_is_the_share_of_pixels_that_differ(truth, found):
    expected = ((truth > 0) != (found > 0)).mean()
    assert errors(truth, found)["pixel_error"] == pytest.approx(expected)


@given(LABELS)
def test_the_truth_itself_has_no_error(truth):
    assert set(errors(truth, truth).values()) <= {0.0} or not truth.any()


def pieces(mask):
    """Nuclei and pieces of background, with a background all around."""
    padded = np.pad(mask, 1)
    return label(padded)[1], label(~padded, EIGHT)[1]


def naive_warp(truth, found):
    """Flip by counting pieces of the whole mask after every try."""
    mask = truth.copy()
    queue = [tuple(at) for at in np.argwhere(mask != found)]
    steps = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
    while queue:
        y, x = queue.pop(0)
        before = pieces(mask)
        mask[y, x] = found[y, x]
        if pieces(mask) != before:
            mask[y, x] = not found[y, x]
            continue
        for dy, dx in steps:
            at = y + dy, x + dx
            inside = 0 <= at[0] < mask.shape[0] and 0 <= at[1] < mask.shape[1]
            if inside and mask[at] != found[at] and at not in queue:
                queue.append(at)
    return mask


@given(MASK, MASK)
def test_warping_equals_that_of_a_naive_oracle(truth, found):
    assert np.array_equal(warped(truth, found), naive_warp(truth, found))


@given(MASK, MASK)
def test_warping_keeps_the_topology_and_ends_where_nothing_can_be_flipped(truth, found):
    result = warped(truth, found)
    assert pieces(result) == pieces(truth)
    for at in np.argwhere(result != found):
        other = result.copy()
        other[tuple(at)] ^= True
        assert pieces(other) != pieces(truth)


def test_a_pixel_is_simple_if_flipping_it_changes_no_count_of_pieces():
    around = ((1, 2), (0, 2), (0, 1), (0, 0), (1, 0), (2, 0), (2, 1), (2, 2))
    for ring in range(256):
        mask = np.zeros((3, 3), bool)
        for bit, at in enumerate(around):
            mask[at] = ring >> bit & 1
        with_it, without = mask.copy(), mask.copy()
        with_it[1, 1], without[1, 1] = True, False
        assert SIMPLE[ring] == (pieces(with_it) == pieces(without)), ring


def disc(centre, radius, side=40):
    y, x = np.mgrid[:side, :side]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def test_a_nucleus_of_another_outline_is_no_topological_error():
    truth = disc((20, 20), 10).astype(int)
    found = disc((23, 18), 8).astype(int)
    result = errors(truth, found)
    assert result["pixel_error"] > 0.05
    assert result["warping_error"] == 0


def test_a_split_costs_a_bridge_and_a_merge_the_line_between():
    whole = disc((20, 20), 10).astype(int)
    parts = np.where(disc((20, 20), 10) & (np.arange(40) > 20), 2, whole)
    split, merged = errors(whole, parts), errors(parts, whole)
    assert split["pixel_error"] == merged["pixel_error"] == 0
    assert 1 <= split["warping_error"] * 1600 <= 3
    assert 17 <= merged["warping_error"] * 1600 <= 21
    assert min(split["adapted_rand_error"], merged["adapted_rand_error"]) > 0.2


def test_touching_nuclei_are_parted_by_a_line():
    labels = np.array([[1, 1, 1, 2, 2, 2]] * 2 + [[0, 0, 0, 0, 0, 2]])
    expected = [[1, 1, 0, 0, 1, 1]] * 2 + [[0, 0, 0, 0, 0, 1]]
    assert parted(labels).astype(int).tolist() == expected


@given(LABELS)
def test_no_two_nuclei_are_one_piece_once_they_are_parted(labels):
    names, n = label(parted(labels), EIGHT)
    assert all(len(np.unique(labels[names == k])) == 1 for k in range(1, n + 1))
    renamed = np.array([0, 7, 3, 1])[np.searchsorted([0, 1, 2, 900], labels)]
    assert np.array_equal(parted(renamed), parted(labels))


def test_masks_of_different_shape_are_refused():
    with pytest.raises(ShapeMismatch, match=r"\(2, 2\).*\(2, 3\)"):
        warped(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
