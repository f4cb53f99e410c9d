import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from segpipe.errors import ShapeMismatch
from segpipe.metrics import Counts, count, mean_score, scores
from segpipe.metrics.overlap import best_pairing, overlap

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
REFERENCE = json.loads((GOLDEN / "reference.json").read_text())
SMALL = hnp.arrays(
    np.int32, (9, 11), elements=st.sampled_from([0, 0, 1, 2, 3, 7, 1000])
)


def read(name):
    return cv2.imread(str(GOLDEN / name), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("case", REFERENCE)
def test_scores_equal_the_published_ones(case):
    truth = read(f"consep_{case}_truth.png")
    found = read(f"consep_{case}_hovernet_decoded.png")
    counts = count(truth, found)
    result = scores(counts)
    expected = REFERENCE[case]
    assert counts.n_truth == expected["truth_nuclei"]
    assert counts.n_found == expected["decoded_nuclei"]
    for ours, theirs in [
        ("dice", "dice1"),
        *((n, n) for n in ("aji", "aji_plus", "dq", "sq", "pq")),
    ]:
        assert result[ours] == pytest.approx(expected[theirs], abs=1e-9)


def test_what_has_no_score_is_left_out_of_the_mean():
    assert mean_score([math.nan, 0.25, 0.75]) == 0.5
    assert math.isnan(mean_score([math.nan]))
    assert math.isnan(mean_score([]))


def oracle(truth, found):
    """Every pair of masks, one by one, as the papers say it."""
    t = [truth == i for i in np.unique(truth) if i]
    f = [found == i for i in np.unique(found) if i]
    common = np.array([[(a & b).sum() for b in f] for a in t]).reshape(len(t), len(f))
    union = np.array([[(a | b).sum() for b in f] for a in t]).reshape(len(t), len(f))
    iou = common / np.maximum(union, 1)
    best = [(i, int(iou[i].argmax())) for i in range(len(t)) if iou[i].max(initial=0)]
    rows, columns = linear_sum_assignment(-iou)
    one = [(i, j) for i, j in zip(rows, columns, strict=True) if iou[i, j] > 0]

    def jaccard(pairs):
        missed = sum(a.sum() for i, a in enumerate(t) if i not in {p[0] for p in pairs})
        extra = sum(b.sum() for j, b in enumerate(f) if j not in {p[1] for p in pairs})
        return sum(common[p] for p in pairs), sum(union[p] for p in pairs) + (
            missed + extra
        )

    return jaccard(best), sum(iou[p] for p in one), iou[iou > 0.5]


@given(SMALL, SMALL)
def test_counts_equal_those_of_a_naive_oracle(truth, found):
    counts = count(truth, found)
    aji, _, matched = oracle(truth, found)
    assert (counts.aji_common_px, counts.aji_union_px) == aji
    assert counts.n_matched == len(matched)
    assert counts.matched_iou == pytest.approx(matched.sum())
    assert counts.common_px == ((truth > 0) & (found > 0)).sum()


@given(SMALL, SMALL)
def test_one_to_one_pairs_have_the_largest_total_iou(truth, found):
    table = overlap(truth, found)
    pairs = best_pairing(table.truth, table.found, table.iou)
    assert len(set(table.truth[pairs])) == len(pairs) == len(set(table.found[pairs]))
    assert table.iou[pairs].sum() == pytest.approx(oracle(truth, found)[1])


@given(SMALL, SMALL)
def test_ids_are_only_names(truth, found):
    table = np.zeros(1001, np.int32)
    table[[1, 2, 3, 7, 1000]] = (65_535, 9, 4, 2_000_000_000, 1)
    before, after = count(truth, found), count(table[truth], table[found])
    assert before.n_matched == after.n_matched
    assert before.common_px == after.common_px
    assert before.matched_iou == pytest.approx(after.matched_iou)
    assert before.n_detected == after.n_detected


@given(SMALL)
def test_the_truth_itself_is_perfect_or_undefined(truth):
    result = scores(count(truth, truth))
    assert result["aji"] != result["aji"] or all(
        value == pytest.approx(1, abs=2e-6) for value in result.values()
    )


@given(SMALL, SMALL, SMALL, SMALL)
def test_counts_of_images_add_up_to_those_of_their_montage(a, b, c, d):
    apart = count(a, b, radius_px=0.5) + count(c, d, radius_px=0.5)
    shift = np.where(c > 0, c + 2000, 0), np.where(d > 0, d + 2000, 0)
    gap = np.zeros((40, 11), np.int32)
    montage = count(
        np.vstack((a, gap, shift[0])), np.vstack((b, gap, shift[1])), radius_px=0.5
    )
    assert montage.n_truth == apart.n_truth
    assert montage.aji_union_px == apart.aji_union_px
    assert montage.n_detected == apart.n_detected
    assert montage.matched_iou == pytest.approx(apart.matched_iou)


def test_two_empty_maps_have_no_score():
    empty = np.zeros((4, 4), np.int32)
    assert all(math.isnan(value) for value in scores(count(empty, empty)).values())


def test_finding_something_where_nothing_is_scores_nothing():
    empty, full = np.zeros((4, 4), np.int32), np.ones((4, 4), np.int32)
    assert set(scores(count(empty, full)).values()) == {0.0}
    assert set(scores(count(full, empty)).values()) == {0.0}


def test_no_counts_are_neutral():
    truth = read("consep_train_11_truth.png")
    counts = count(truth, truth)
    assert counts + Counts() == counts


def test_maps_of_different_shape_are_refused():
    with pytest.raises(ShapeMismatch, match=r"\(4, 4\).*\(4, 5\)"):
        count(np.zeros((4, 4), int), np.zeros((4, 5), int))


def dots(positions, shape=(60, 60)):
    labels = np.zeros(shape, np.int32)
    for index, (y, x) in enumerate(positions, 1):
        labels[y : y + 3, x : x + 3] = index
    return labels


def test_detection_pairs_centres_within_the_radius():
    truth = dots([(5, 5), (5, 30), (40, 40)])
    found = dots([(5, 9), (25, 30), (40, 40), (50, 5)])
    assert count(truth, found, radius_px=6).n_detected == 2
    assert count(truth, found, radius_px=3).n_detected == 1
    assert count(truth, found, radius_px=20).n_detected == 3


def test_detection_finds_as_many_pairs_as_it_can():
    truth = dots([(10, 10), (10, 20)])
    found = dots([(10, 15), (10, 26)])
    assert count(truth, found, radius_px=6.5).n_detected == 2
