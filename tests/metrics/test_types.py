"""Types are scored as HoVer-Net, PanNuke and CoNIC do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segpipe.errors import ShapeMismatch
from segpipe.metrics import (
    Typing,
    confusion,
    count,
    count_types,
    scores,
    type_pq,
    type_scores,
)
from segpipe.metrics.detections import match_centres
from segpipe.metrics.overlap import overlap

SMALL = hnp.arrays(np.int32, (7, 9), elements=st.sampled_from([0, 0, 1, 2, 3, 900]))


def dots(positions, shape=(60, 60)):
    labels = np.zeros(shape, np.int32)
    for index, (y, x) in enumerate(positions, 1):
        labels[y : y + 3, x : x + 3] = index
    return labels


def counted(truth, found, typing, radius_px=3):
    confused = confusion(typing, match_centres(truth, found, radius_px))
    return confused, count_types(typing, confused, overlap(truth, found))


def test_types_are_scored_as_hover_net_does():
    truth = dots([(5, 5), (5, 30), (40, 40), (50, 5)])
    found = dots([(5, 5), (5, 30), (40, 40), (25, 50)])
    typing = Typing(
        truth=np.array([1, 1, 2, 2]), found=np.array([1, 2, 2, 1]), n_types=2
    )
    confused, (one, two) = counted(truth, found, typing)
    assert confused.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 0]]
    assert (one.right, one.wrongly, one.missed) == (1, 0, 1)
    assert (one.invented, one.overlooked) == (1, 0)
    assert (two.right, two.wrongly, two.missed) == (1, 1, 0)
    assert (two.invented, two.overlooked) == (0, 1)
    assert type_scores((one, two)) == [2 / 5, 2 / 5]
    assert type_scores([one + two]) == [4 / 10]


def test_nuclei_of_unknown_type_are_left_out():
    labels = dots([(5, 5), (5, 30)])
    typing = Typing(truth=np.array([0, 1]), found=np.array([1, 1]), n_types=1)
    _, (one,) = counted(labels, labels, typing)
    assert type_scores([one]) == [1.0]
    assert type_pq([one]) == [pytest.approx(1, abs=2e-6)]


@given(SMALL, SMALL, st.data())
def test_the_pq_of_a_type_is_that_of_maps_with_this_type_only(truth, found, data):
    def drawn(labels):
        ids = np.unique(labels[labels > 0])
        kinds = [data.draw(st.integers(1, 2)) for _ in ids]
        return np.array(kinds, np.int64), ids

    (of_truth, truth_ids), (of_found, found_ids) = drawn(truth), drawn(found)
    typing = Typing(truth=of_truth, found=of_found, n_types=2)
    _, types = counted(truth, found, typing)
    for k, pq in enumerate(type_pq(types), 1):
        alone = count(
            np.where(np.isin(truth, truth_ids[of_truth == k]), truth, 0),
            np.where(np.isin(found, found_ids[of_found == k]), found, 0),
        )
        assert pq == pytest.approx(scores(alone)["pq"], nan_ok=True)


@given(SMALL, SMALL)
def test_the_confusion_holds_every_nucleus_once(truth, found):
    n_truth, n_found = (len(np.unique(m[m > 0])) for m in (truth, found))
    typing = Typing(
        truth=np.arange(n_truth) % 3, found=np.arange(n_found) % 3, n_types=2
    )
    confused, _ = counted(truth, found, typing)
    assert confused[:-1].sum() == n_truth
    assert confused[:, :-1].sum() == n_found


def test_a_type_beyond_the_last_is_refused():
    with pytest.raises(ShapeMismatch, match="Type 3 is beyond the 2"):
        Typing(truth=np.array([3]), found=np.array([1]), n_types=2)
