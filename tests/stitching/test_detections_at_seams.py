"""Detections where it hurts: on seams and corners, touching, chained, cut, at an edge.

Windows have cores of 16 px and see 8 px more on each side; they vouch for centres up to
2 px outside the core and for nuclei of up to 10 px.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import shortest_path
from synthetic_detector import (
    claims_of_all,
    input_box,
    ownership_of,
    rectangles,
    resolved,
    scribble,
)

from segpipe.errors import SettingsError, ShapeMismatch
from segpipe.labels.detections import Detections
from segpipe.labels.masks import of_planes, shared_pixels
from segpipe.stitching.ownership import (
    LINKS,
    Ownership,
    claims_of,
    conflicting,
    in_order,
    n_too_large,
    survivors,
)

SIDE = 64
NONE = Detections.none()


def found(says, shape=(SIDE, SIDE), **rules):
    """Return the boxes of the nuclei that come of what windows say."""
    ownership = ownership_of(shape, **rules)
    claims = claims_of_all(ownership, lambda window: says.get(window, NONE))
    nuclei, _ = resolved(claims, ownership)
    return [tuple(box) for box in nuclei.boxes.tolist()]


def seen_by_all(truth, ownership):
    """Return what every window says of rectangles, cut where its input ends."""
    says = {}
    for window in range(len(ownership.lattice)):
        view = input_box(ownership, window)
        cut = [
            (max(y0, view.y0), max(x0, view.x0), min(y1, view.y1), min(x1, view.x1))
            for y0, x0, y1, x1 in truth
        ]
        says[window] = rectangles(*(b for b in cut if b[0] < b[2] and b[1] < b[3]))
    return says


def test_of_two_owners_one_is_kept():
    west, east = (20, 11, 28, 20), (20, 12, 28, 21)
    assert found({4: rectangles(west), 5: rectangles(east)}) == [west]


def test_a_nucleus_that_each_places_in_the_other_is_kept_once():
    west, east = (20, 12, 28, 21), (20, 11, 28, 20)
    assert found({4: rectangles(west), 5: rectangles(east)}) == [west]


def test_the_owner_speaks_before_a_guest():
    west, east = (20, 13, 28, 21), (20, 12, 28, 21)
    assert found({4: rectangles(west), 5: rectangles(east)}) == [east]


def test_a_guest_is_kept_where_the_owner_missed_the_nucleus():
    west = (20, 13, 28, 22)
    assert found({4: rectangles(west)}) == [west]


def test_beyond_the_reach_of_vouching_the_owners_word_is_the_last():
    assert found({4: rectangles((20, 15, 28, 23))}) == []


def test_where_no_window_ran_a_neighbour_vouches_for_what_it_sees_whole():
    run = np.ones(16, np.bool_)
    run[5] = False
    whole, cut = (16, 16, 23, 23), (16, 17, 23, 24)
    assert found({4: rectangles(whole)}, run=run) == [whole]
    assert found({4: rectangles(cut)}, run=run) == []
    from_above = (15, 17, 22, 23)
    both = {4: rectangles(whole), 1: rectangles(from_above)}
    assert found(both, run=run) in ([whole], [from_above])


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.integers(-1, 1)] * 2), min_size=4, max_size=4))
def test_on_a_corner_of_four_windows_there_is_one(places):
    says = {
        window: rectangles((12 + dy, 12 + dx, 21 + dy, 21 + dx))
        for window, (dy, dx) in zip((0, 1, 4, 5), places, strict=True)
    }
    assert len(found(says)) == 1


@pytest.mark.parametrize("at", range(10, 23))
@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_a_nucleus_anywhere_about_a_corner_is_found_once(at, size):
    for x in (at, 16 - size // 2):
        box = (at, x, at + size, x + size)
        ownership = ownership_of((SIDE, SIDE))
        assert found(seen_by_all([box], ownership)) == [box]


def test_two_that_touch_exactly_at_a_seam_stay_two():
    pair = [(20, 8, 28, 16), (20, 16, 28, 24)]
    assert sorted(found(seen_by_all(pair, ownership_of((SIDE, SIDE))))) == pair
    four = [(y, x, y + 4, x + 4) for y in (28, 32) for x in (12, 16)]
    assert sorted(found(seen_by_all(four, ownership_of((SIDE, SIDE))))) == four


def test_what_is_larger_than_a_window_sees_whole_is_dropped_not_halved():
    ownership = ownership_of((SIDE, SIDE))
    for truth in ([(4, 4, 60, 60)], [(0, 0, SIDE, SIDE)], [(30, 2, 34, 62)]):
        says = seen_by_all(truth, ownership)
        assert found(says) == []
        assert sum(n_too_large(said, w, ownership) for w, said in says.items()) > 0


def test_the_largest_nucleus_is_whole_wherever_it_lies():
    ownership = ownership_of((SIDE, SIDE))
    assert ownership.max_extent_px == 10
    for x in range(8, 40):
        kept, dropped = (25, x, 35, x + 10), (25, x, 35, x + 11)
        assert found(seen_by_all([kept], ownership)) == [kept]
        assert found(seen_by_all([dropped], ownership)) == []


def test_no_detection_at_all_is_no_nucleus():
    assert found({}) == []
    assert found({0: NONE}, shape=(1, 1)) == []


def test_a_slide_full_of_nuclei_has_them_all():
    truth = [(y, x, y + 2, x + 2) for y in range(0, SIDE, 2) for x in range(0, SIDE, 2)]
    assert sorted(found(seen_by_all(truth, ownership_of((SIDE, SIDE))))) == truth


def test_a_slide_of_one_pixel_can_be_a_nucleus():
    assert found({0: rectangles((0, 0, 1, 1))}, shape=(1, 1)) == [(0, 0, 1, 1)]


def test_what_is_mirrored_at_the_edge_is_cut_off_or_left_out():
    touching, image = (-4, 20, 4, 28), (-6, 20, -1, 28)
    assert found({1: rectangles(touching)}) == [(0, 20, 4, 28)]
    assert found({1: rectangles(image)}) == []
    assert found({1: rectangles((-6, 20, 1, 28))}) == []


def test_of_doubles_in_one_window_the_better_scored_stays():
    worse, better = (18, 20, 26, 26, 127), (19, 20, 26, 26, 128)
    assert found({5: rectangles(worse, better)}) == [better[:4]]
    equal = (19, 20, 26, 26, 127)
    assert found({5: rectangles(worse, equal)}) == [worse[:4]]


def test_half_of_the_smaller_may_be_shared_and_no_more():
    large, half = (18, 18, 26, 26, 200), (22, 22, 24, 30)
    shown = found({5: rectangles(large, half)})
    assert len(shown) == 2
    more = (22, 22, 24, 29)
    assert found({5: rectangles(large, more)}) == [large[:4]]


def test_a_mask_in_pieces_is_its_largest_piece():
    plane = np.zeros((1, 8, 8), np.bool_)
    plane[0, 0, :2] = plane[0, 3:6, 3:6] = True
    ownership = ownership_of((SIDE, SIDE))
    kind = np.zeros(1, np.uint8)
    at = input_box(ownership, 5).grown(-12)
    claims = claims_of(of_planes(plane, kind, kind, at=at), 5, ownership)
    assert claims.detections.boxes.tolist() == [
        [at.y0 + 3, at.x0 + 3, at.y0 + 6, at.x0 + 6]
    ]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_chain_over_the_slide_keeps_every_link_represented_and_apart(step):
    chain = [(20, x, 28, x + 9) for x in range(0, 110, step)]
    ownership = ownership_of((SIDE, 128))
    claims = claims_of_all(ownership, seen_by_all(chain, ownership).get)
    nuclei, _ = resolved(claims, ownership)
    starts = np.sort(nuclei.boxes[:, 1])
    assert np.all(np.diff(starts) >= 4)
    everything = in_order(list(claims.values()))
    shared = shared_pixels(everything.detections)
    kept = survivors(everything, shared, ownership.lattice)
    assert len(nuclei) == kept.sum()
    places = everything.detections.boxes[:, 1]
    gaps = np.abs(places[:, None] - places[kept]).min(axis=1)
    assert gaps.max() <= 2 * 4


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_no_fate_hangs_on_more_than_so_many_conflicts(seed):
    ownership = ownership_of((48, 48))
    parts = claims_of_all(ownership, lambda w: scribble(ownership, w, seed, n=16))
    claims = in_order(list(parts.values()))
    shared = shared_pixels(claims.detections)
    kept = survivors(claims, shared, ownership.lattice)
    conflicts = conflicting(claims.detections, shared)
    linked = np.zeros((len(claims), len(claims)))
    linked[conflicts.one, conflicts.other] = 1
    steps = shortest_path(linked, directed=False, unweighted=True)
    for row in range(0, len(claims), 7):
        near = np.flatnonzero(steps[row] <= LINKS)
        alone = claims.take(near)
        fate = survivors(alone, shared_pixels(alone.detections), ownership.lattice)
        assert fate[near == row] == kept[row]


def test_a_fate_may_hang_on_as_many():
    chain = {
        3: [(22, 26, 42, 31)],
        2: [(28, 23, 35, 32)],
        1: [(25, 24, 35, 35), (21, 32, 41, 41)],
        0: [(26, 31, 42, 35)],
    }
    kept = {True: [3, 1], False: [2, 0]}
    for owner_speaks in (True, False):
        said = {window: rectangles(*boxes) for window, boxes in chain.items()}
        if not owner_speaks:
            said[1] = rectangles(chain[1][0])
        ownership = ownership_of((SIDE, SIDE), side=32, margin=16, vouch=6, edge=0)
        claims = in_order([claims_of(said[w], w, ownership) for w in chain])
        guest = claims.detections.boxes[:, 0] != 21
        assert len(claims) == LINKS + owner_speaks
        shared = shared_pixels(claims.detections)
        fates = survivors(claims, shared, ownership.lattice)
        assert set(claims.window[fates & guest]) == set(kept[owner_speaks])


def test_constants_that_leave_no_nucleus_whole_are_refused():
    with pytest.raises(SettingsError, match="leave some of the margin of 8 px"):
        ownership_of((SIDE, SIDE), vouch=8)
    with pytest.raises(SettingsError, match="margins of at most 8 px"):
        ownership_of((SIDE, SIDE), margin=9)
    lattice = ownership_of((SIDE, SIDE)).lattice
    with pytest.raises(ShapeMismatch, match="one per window"):
        Ownership(lattice=lattice, margin_px=8, run=np.ones(3, np.bool_), vouch_px=1)
