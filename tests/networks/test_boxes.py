"""Boxes: overlap, coding and both suppressions equal loops that say what they are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.networks import _boxes
from segpipe.networks._boxes import (
    _nms,
    areas,
    clipped,
    decode,
    encode,
    fast_nms,
    first_served,
    intersections,
    iou,
    matched,
    nms,
)
from segpipe.networks._kernels import torchvision_ops

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


@st.composite
def boxes(draw, least=0, most=24):
    """Boxes on a small grid, so that overlaps, equal scores and thresholds meet."""
    corner, side = st.integers(0, 9), st.integers(1, 6)
    rows = draw(
        st.lists(st.tuples(corner, corner, side, side), min_size=least, max_size=most)
    )
    made = torch.tensor(rows, dtype=torch.float32).view(-1, 4)
    return torch.cat((made[:, :2], made[:, :2] + made[:, 2:]), dim=1)


@st.composite
def scored(draw):
    found = draw(boxes())
    n = len(found)
    scores = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    groups = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return found, torch.tensor(scores) / 4, torch.tensor(groups, dtype=torch.int64)


def naive_iou(a, b):
    wide = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    inter = wide * high
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union


def naive_nms(found, scores, threshold, groups=None, *, fast=False):
    order = sorted(range(len(found)), key=lambda i: -scores[i])
    left, passed = [], []
    for i in order:
        rivals = passed if fast else left
        if not any(
            (groups is None or groups[i] == groups[j])
            and naive_iou(found[i], found[j]) > threshold
            for j in rivals
        ):
            left.append(i)
        passed.append(i)
    return left


@given(boxes(), boxes())
def test_iou_is_what_is_shared_of_what_is_covered(one, other):
    found = iou(one, other)
    assert found.shape == (len(one), len(other))
    for i, a in enumerate(one.tolist()):
        for j, b in enumerate(other.tolist()):
            assert found[i, j] == pytest.approx(naive_iou(a, b))


@given(boxes(least=1), boxes(least=1), st.sampled_from([1, 7, 60, 1 << 23]))
def test_boxes_matched_in_parts_are_those_of_all_pairs(found, true, pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_boxes, "_PAIRS", pairs)
        match = matched(found, true)
    shared = iou(found, true).numpy()
    assert np.array_equal(match.best, shared.max(axis=1))
    assert np.array_equal(match.row, shared.argmax(axis=1))
    assert np.array_equal(match.best_of_true, shared.max(axis=0))
    assert np.array_equal(match.row_of_true, shared.argmax(axis=0))


def test_boxes_are_matched_with_nothing_where_nothing_is_true():
    match = matched(torch.tensor([[0.0, 0, 4, 4]]).repeat(3, 1), torch.zeros(0, 4))
    assert match.best.tolist() == match.row.tolist() == [0, 0, 0]
    assert len(match.best_of_true) == len(match.row_of_true) == 0


@given(scored(), st.sampled_from([0.0, 0.3, 0.5, 0.8]), st.booleans())
def test_nms_is_the_greedy_loop(given_boxes, threshold, grouped):
    found, scores, groups = given_boxes
    groups = groups if grouped else None
    expected = naive_nms(
        found.tolist(),
        scores.tolist(),
        threshold,
        None if groups is None else groups.tolist(),
    )
    assert nms(found, scores, threshold, groups).tolist() == expected
    if groups is None:
        assert _nms(found, scores, threshold).tolist() == expected


@given(scored(), st.sampled_from([0.0, 0.3, 0.5, 0.8]))
def test_fast_nms_lets_the_suppressed_suppress(given_boxes, threshold):
    found, scores, _ = given_boxes
    expected = naive_nms(found.tolist(), scores.tolist(), threshold, fast=True)
    fast = fast_nms(found, scores, threshold).tolist()
    assert fast == expected
    assert set(fast) <= set(nms(found, scores, threshold).tolist())


@settings(max_examples=3)
@given(st.integers(0, 2**32 - 1))
def test_nms_of_several_blocks_is_the_greedy_loop(seed):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 160, (1100, 2))
    rows = np.concatenate([corner, corner + rng.integers(6, 16, (1100, 2))], axis=1)
    found = torch.from_numpy(rows).float()
    scores = torch.from_numpy(rng.integers(0, 300, 1100)).float()
    left = _nms(found, scores, 0.5)
    assert len(left) > 512
    shared = (iou(found, found) > 0.5).numpy()
    expected, taken = [], np.zeros(1100, np.bool_)
    for i in np.argsort(-scores.numpy(), kind="stable"):
        if not (shared[i] & taken).any():
            taken[i] = True
            expected.append(i)
    assert left.tolist() == expected


def test_a_chain_as_long_as_the_list_is_decided_one_by_one():
    n = 40
    chain = torch.eye(n, dtype=torch.bool).roll(1, dims=1)
    chain[-1] = False
    assert first_served(chain | chain.T).tolist() == [i % 2 == 0 for i in range(n)]


@settings(max_examples=30)
@given(boxes(least=1), boxes(least=1))
def test_decoding_gives_back_what_was_encoded(found, anchors):
    n = min(len(found), len(anchors))
    found, anchors = found[:n], anchors[:n]
    for weights in ((1.0,) * 4, WEIGHTS):
        offsets = encode(found, anchors, weights)
        torch.testing.assert_close(
            decode(offsets, anchors, weights), found, rtol=1e-5, atol=1e-4
        )


def test_offsets_are_those_of_the_paper():
    anchor, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 5, 25, 15]])
    expected = [1.0, 0.0, np.log(2), np.log(0.5)]
    np.testing.assert_allclose(encode(box, anchor)[0], expected, rtol=1e-6)


@given(boxes())
def test_cut_boxes_lie_inside_and_are_what_was_inside(found):
    cut = clipped(found - 3, 7, 5)
    assert bool(((cut >= 0) & (cut <= torch.tensor([5, 7, 5, 7]))).all())
    inside = intersections(found - 3, torch.tensor([[0.0, 0, 5, 7]]))[:, 0]
    np.testing.assert_allclose(areas(cut), inside)


@pytest.mark.skipif(torchvision_ops() is None, reason="torchvision doesn't import")
@given(scored(), st.sampled_from([0.3, 0.5, 0.8]))
def test_nms_is_torchvisions(given_boxes, threshold):
    found, scores, groups = given_boxes
    ops = torchvision_ops()
    assert _nms(found, scores, threshold).tolist() == (
        ops.nms(found, scores, threshold).tolist()
    )
    theirs = ops.batched_nms(found, scores, groups, threshold)
    assert nms(found, scores, threshold, groups).tolist() == theirs.tolist()
