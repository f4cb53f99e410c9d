"""The flood is Dijkstra's, bounded, with ties by direction."""

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.decoding.flooding import STEP, flood
from segpipe.errors import ShapeMismatch


def oracle(markers, edge_cost, mask, reach_px):
    """Dijkstra over pixels, in plain Python."""
    height, width = markers.shape
    cost = {}
    queue = [(0, y, x) for y, x in np.argwhere((markers > 0) & mask)]
    while queue:
        now, y, x = heapq.heappop(queue)
        if (y, x) in cost:
            continue
        cost[y, x] = now
        for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            to = (y + dy, x + dx)
            if 0 <= to[0] < height and 0 <= to[1] < width and mask[to]:
                then = now + STEP + int(edge_cost[to])
                if to not in cost and then <= reach_px * STEP:
                    heapq.heappush(queue, (then, *to))
    labels = np.zeros(markers.shape, np.int32)
    for (y, x), now in sorted(cost.items(), key=lambda item: item[1]):
        if now == 0:
            labels[y, x] = markers[y, x]
            continue
        before = now - STEP - int(edge_cost[y, x])
        for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            if cost.get((y + dy, x + dx)) == before:
                labels[y, x] = labels[y + dy, x + dx]
                break
    return labels


@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    reach_px=st.integers(0, 12),
    steepest=st.sampled_from([0, 3, 40, 250]),
    share=st.floats(0, 1),
)
def test_flood_is_dijkstra(seed, shape, reach_px, steepest, share):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.3 + 0.7 * share
    markers = np.where(rng.random(shape) < 0.05, rng.integers(1, 9, shape), 0)
    markers = markers.astype(np.int32)
    edge_cost = rng.integers(0, steepest + 1, shape).astype(np.uint8)
    found = flood(markers, edge_cost, mask, reach_px=reach_px)
    assert np.array_equal(found, oracle(markers, edge_cost, mask, reach_px))


def test_a_flood_ends_at_its_reach():
    markers = np.zeros((1, 40), np.int32)
    markers[0, 0] = 7
    flat = np.zeros((1, 40), np.uint8)
    found = flood(markers, flat, np.ones((1, 40), bool), reach_px=12)
    assert np.flatnonzero(found).tolist() == list(range(13))


def test_an_edge_parts_what_touches():
    markers = np.zeros((3, 21), np.int32)
    markers[1, 2], markers[1, 18] = 1, 2
    edge = np.zeros((3, 21), np.uint8)
    edge[:, 14] = 200
    found = flood(markers, edge, np.ones((3, 21), bool), reach_px=100)
    assert np.all(found[:, :14] == 1)
    assert np.all(found[:, 15:] == 2)


def test_arrays_of_different_shapes_are_refused():
    with pytest.raises(ShapeMismatch, match="one shape"):
        flood(
            np.zeros((3, 3), np.int32),
            np.zeros((3, 4), np.uint8),
            np.ones((3, 3), bool),
            reach_px=3,
        )


def test_an_absurd_reach_is_refused():
    empty = np.zeros((3, 3), np.int32)
    with pytest.raises(ValueError, match="reach_px is -1"):
        flood(empty, empty.astype(np.uint8), empty > 0, reach_px=-1)
