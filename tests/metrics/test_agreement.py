"""Agreement of two label maps is that of a plain count, however they are cut up."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from result_folders import parted

from segpipe.metrics.agreement import bands
from segpipe.metrics.agreement_scores import (
    Agreement,
    agreement_scores,
    count_areas,
    count_ious,
    kappa,
)
from segpipe.metrics.detections import match_points, settled

SHAPE = (10, 13)
MAPS = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 1, 2])).map(parted)


@st.composite
def alike(draw):
    """Two label maps that differ in some pixels."""
    classes = draw(hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 2)))
    blocks = np.kron(classes[::4, ::4], np.ones((4, 4), np.uint8))
    blocks = blocks[: SHAPE[0], : SHAPE[1]]
    flips = draw(
        hnp.arrays(np.bool_, SHAPE, elements=st.sampled_from([False] * 7 + [True]))
    )
    return parted(blocks), parted(np.where(flips, classes, blocks))


def told(a, b, box_px):
    """Return pairs with their IoU, and the best IoU of those that are left."""
    pairs, only_a, only_b = {}, {}, {}
    px = np.zeros(3, int)
    for band in bands(
        lambda box: a[box.slices()], lambda box: b[box.slices()], a.shape, box_px
    ):
        found = band.told
        for key in zip(found.a.tolist(), found.b.tolist(), strict=True):
            assert key not in pairs
        pairs |= dict(
            zip(
                zip(found.a.tolist(), found.b.tolist(), strict=True),
                found.iou,
                strict=True,
            )
        )
        for known, left in ((only_a, found.only_a), (only_b, found.only_b)):
            assert not known.keys() & set(left.ids.tolist())
            known |= dict(zip(left.ids.tolist(), left.best_iou, strict=True))
        px += band.px
    return pairs, only_a, only_b, px.tolist()


def plainly(a, b):
    """The same, instance by instance."""
    ious = {
        (i, j): np.sum((a == i) & (b == j)) / np.sum((a == i) | (b == j))
        for i in range(1, a.max(initial=0) + 1)
        for j in range(1, b.max(initial=0) + 1)
    }
    pairs = {pair: iou for pair, iou in ious.items() if iou > 0.5}
    left = []
    for at, labels in enumerate((a, b)):
        rest = set(range(1, labels.max(initial=0) + 1)) - {pair[at] for pair in pairs}
        left.append(
            {
                i: max((v for p, v in ious.items() if p[at] == i), default=0)
                for i in rest
            }
        )
    px = [int((a > 0).sum()), int((b > 0).sum()), int(((a > 0) & (b > 0)).sum())]
    return pairs, *left, px


@given(st.one_of(st.tuples(MAPS, MAPS), alike()), st.integers(1, 14))
def test_bands_tell_what_a_plain_count_tells(maps, box_px):
    assert told(*maps, box_px) == plainly(*maps)


@settings(max_examples=25)
@given(alike(), st.integers(1, 14))
def test_swapping_swaps_and_changes_nothing_else(maps, box_px):
    a, b = maps
    pairs, only_a, only_b, px = told(a, b, box_px)
    swapped = told(b, a, box_px)
    assert {pair[::-1]: iou for pair, iou in swapped[0].items()} == pairs
    assert swapped[1:3] == (only_b, only_a)
    assert swapped[3] == [px[1], px[0], px[2]]


@settings(max_examples=25)
@given(MAPS, st.integers(1, 14))
def test_a_map_agrees_with_itself_wholly(labels, box_px):
    n = int(labels.max())
    pairs, only_a, only_b, _ = told(labels, labels, box_px)
    assert pairs == {(i, i): 1.0 for i in range(1, n + 1)}
    assert not only_a
    assert not only_b


def test_no_more_is_held_than_what_goes_on_below():
    labels = parted(np.kron(np.eye(40, dtype=np.uint8), np.ones((3, 3), np.uint8)))
    for band in bands(
        lambda b: labels[b.slices()], lambda b: labels[b.slices()], labels.shape, 7
    ):
        waiting = [first for first in band.waiting if first is not None]
        told_now = band.told.a.tolist()
        assert all(first > max(told_now, default=0) for first in waiting)
        assert len(told_now) <= 4


def test_kappa_is_that_of_cohens_example():
    pairs = {
        ("yes", "yes"): 20,
        ("yes", "no"): 5,
        ("no", "yes"): 10,
        ("no", "no"): 15,
    }
    assert kappa(pairs) == pytest.approx(0.4)
    assert kappa({("yes", "yes"): 7}) == 1.0
    assert kappa({("yes", "no"): 7}) == 0.0
    assert math.isnan(kappa({}))


@given(
    hnp.arrays(np.float32, st.integers(1, 9), elements=st.floats(0, 500, width=32)),
    st.integers(1, 8),
)
def test_the_median_of_areas_adds_up_and_changes_its_sign_when_swapped(areas, cut):
    other = areas[::-1]
    counted = count_areas(areas[:cut], other[:cut]) + count_areas(
        areas[cut:], other[cut:]
    )
    forth = agreement_scores(Agreement(areas=counted))["area_difference_um2"]
    back = agreement_scores(Agreement(areas=count_areas(other, areas)))
    assert forth == pytest.approx(np.median(other.astype(float) - areas), abs=0.0051)
    assert back["area_difference_um2"] == -forth


def test_scores_of_one_slide_and_of_many_follow_their_formulas():
    one = Agreement(
        n_a=4,
        n_b=6,
        n_matched=2,
        n_outlined=2,
        a_px=30,
        b_px=50,
        common_px=20,
        iou_parts=count_ious(np.array([0.6, 0.8])),
    )
    scores = agreement_scores(one)
    assert scores["f1"] == pytest.approx(0.4)
    assert scores["sq"] == pytest.approx(0.7)
    assert scores["pq"] == pytest.approx(0.28)
    assert scores["dice"] == pytest.approx(0.5)
    assert agreement_scores(one + one) == pytest.approx(scores, nan_ok=True)
    by_centres = agreement_scores(one + Agreement(n_a=1, n_b=1, n_matched=1))
    assert all(math.isnan(by_centres[name]) for name in ("sq", "pq", "dice"))
    assert by_centres["f1"] == pytest.approx(0.5)
    nothing_in_common = agreement_scores(Agreement(n_a=3))
    assert (nothing_in_common["f1"], nothing_in_common["pq"]) == (0.0, 0.0)
    assert all(map(math.isnan, agreement_scores(Agreement()).values()))


POINTS = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 12), st.just(2)), elements=st.floats(0, 40)
)


@given(POINTS, POINTS, st.floats(0, 40))
def test_settled_points_are_paired_alike_without_those_below(a, b, line):
    settled_a, settled_b = settled(a, b, 3.0, below_y=line)
    assert (a[settled_a, 0] < line).all()
    whole = match_points(a, b, 3.0)
    inside = settled_a[whole[0]]
    assert (settled_b[whole[1]] == inside).all()
    above = match_points(a[settled_a], b[settled_b], 3.0)
    assert len(above[0]) == inside.sum()
