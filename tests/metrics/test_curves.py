"""Average precision is pycocotools' own; the curve and its best point are exact."""

import json
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from coco import coco_precisions, random_images
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segpipe.errors import ShapeMismatch
from segpipe.metrics import Ranking, rank, ranking_scores
from segpipe.metrics.curves import average_precisions, best_f1, curve, interpolated
from segpipe.metrics.overlap import overlap
from segpipe.metrics.ranking import IOUS

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics" / "coco.json"
SMALL = hnp.arrays(np.int32, (7, 9), elements=st.sampled_from([0, 0, 1, 2, 3, 900]))


def pooled(images):
    return reduce(
        add, [rank(overlap(truth, found), scores) for truth, found, scores in images]
    )


@pytest.mark.parametrize(("seed", "expected"), json.loads(GOLDEN.read_text()).items())
def test_average_precisions_equal_those_of_pycocotools(seed, expected):
    ours = average_precisions(pooled(random_images(int(seed))))
    assert ours == pytest.approx(expected, abs=1e-9)
    assert 0 < ours[6] < ours[0] < 1


@pytest.mark.parametrize("seed", range(100, 110))
def test_they_do_where_pycocotools_is_installed_too(seed):
    pytest.importorskip("pycocotools")
    images = random_images(seed, n_images=4)
    expected = coco_precisions(images)
    assert average_precisions(pooled(images)) == pytest.approx(expected, abs=1e-9)


def naive(truth, found, scores, demand):
    """Match one by one, as the COCO evaluation says it."""
    free = [truth == i for i in np.unique(truth) if i]
    ids = [i for i in np.unique(found) if i]
    hits = []
    for at in sorted(range(len(ids)), key=lambda k: -scores[k]):
        mask = found == ids[at]
        iou = [(mask & t).sum() / (mask | t).sum() for t in free]
        best = max(range(len(free)), key=lambda k: (iou[k], k), default=None)
        hits.append(best is not None and iou[best] >= demand)
        if hits[-1]:
            free.pop(best)
    return hits


@given(SMALL, SMALL, st.data())
def test_matches_equal_those_of_a_naive_oracle(truth, found, data):
    n_found = len(np.unique(found[found > 0]))
    one = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    scores = np.array(data.draw(st.lists(one, min_size=n_found, max_size=n_found)))
    ranking = rank(overlap(truth, found), scores)
    for level in (0, 5):
        assert ranking.matched[level].tolist() == naive(
            truth, found, scores, IOUS[level]
        )


def ranking(scores, hits, n_truth):
    return Ranking(
        scores=np.array(scores, float),
        matched=np.tile(np.array(hits, bool), (10, 1)),
        n_truth=n_truth,
    )


def test_the_best_point_is_the_largest_f1_of_any_threshold():
    one = ranking([0.9, 0.8, 0.7, 0.2], [True, False, True, False], 3)
    best = best_f1(one)
    assert (best.threshold, best.precision, best.recall) == (0.7, 2 / 3, 2 / 3)
    assert best.f1 == pytest.approx(2 / 3)


def test_instances_of_equal_score_are_kept_or_dropped_together():
    one = ranking([0.5, 0.5, 0.5], [True, False, False], 1)
    line = curve(one)
    assert line.scores.tolist() == [0.5]
    assert line.precision.tolist() == [1 / 3]
    assert best_f1(one).f1 == pytest.approx(0.5)


scored = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=12)


@given(scored, scored)
def test_rankings_add_up_in_any_order(left, right):
    a, b = (
        ranking([s for s, _ in x], [h for _, h in x], sum(h for _, h in x) + 1)
        for x in (left, right)
    )
    there, back = curve(a + b), curve(b + a)
    assert np.array_equal(there.precision, back.precision)
    assert np.array_equal(there.recall, back.recall)
    assert best_f1(a + b) == best_f1(b + a)


@given(scored)
def test_interpolated_precision_never_rises(one):
    line = interpolated(ranking(*zip(*one, strict=True), len(one)))
    assert (np.diff(line) <= 0).all()


def test_perfect_finds_have_a_perfect_average():
    truth = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((3, 3), int))
    found = rank(overlap(truth, truth), np.linspace(0, 1, 4))
    assert ranking_scores(found) == {"ap50": 1.0, "ap75": 1.0, "map": 1.0}


def test_nothing_there_has_no_average_and_nothing_found_has_none_to_choose():
    empty, full = np.zeros((4, 4), int), np.ones((4, 4), int)
    invented = rank(overlap(empty, full), np.ones(1))
    assert np.isnan(average_precisions(invented)).all()
    assert best_f1(invented) is None
    missed = rank(overlap(full, empty), np.ones(0))
    assert average_precisions(missed).tolist() == [0.0] * 10
    assert best_f1(missed) is None


def test_every_instance_needs_a_score():
    with pytest.raises(ShapeMismatch, match=r"1 instances can't have .*\(2,\)"):
        rank(overlap(np.ones((2, 2), int), np.ones((2, 2), int)), np.ones(2))
