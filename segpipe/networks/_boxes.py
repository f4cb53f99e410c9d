"""Boxes of detectors: overlap, coding against anchors, suppression of doubles.

Boxes are (N, 4) float, half-open x0, y0, x1, y1 in pixels of the input: the order of
published weights. ``_instances`` turns them into the project's, y first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from segpipe.networks._kernels import torchvision_ops

Weights = tuple[float, float, float, float]
"""What the coded offsets dx, dy, dw, dh are multiplied by."""
UNIT: Weights = (1.0, 1.0, 1.0, 1.0)
LARGEST_STEP = math.log(1000 / 16)
"""A box decodes to at most so many times its anchor's sides, logarithmic. Detectron."""
_BLOCK = 512
"""Boxes decided on at a time."""
_PAIRS = 1 << 23
"""Pairs of boxes compared at a time, to be matched."""


def areas(boxes: Tensor) -> Tensor:
    """Return the areas (..., N) of boxes (..., N, 4)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Return the intersection over union of each pair.

    Parameters
    ----------
    one, other : (..., N, 4), (..., M, 4)

    Returns
    -------
    (..., N, M)
        In [0, 1]; not a number for a pair of boxes without area.
    """
    inter = intersections(one, other)
    return inter / (areas(one)[..., None] + areas(other)[..., None, :] - inter)


def intersections(one: Tensor, other: Tensor) -> Tensor:
    """Return the area (..., N, M) that each pair of boxes shares."""
    a, b = one[..., None, :], other[..., None, :, :]
    wide = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    high = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    return wide.clamp_(min=0) * high.clamp_(min=0)


class Matched(NamedTuple):
    """Which of the true boxes each box overlaps most, and the reverse."""

    best: Tensor
    """(A,) IoU of each box with the true box it overlaps most."""
    row: Tensor
    """(A,) int64: which that is, the first of equals; 0 where there is none."""
    best_of_true: Tensor
    """(G,) IoU of each true box with the box that overlaps it most."""
    row_of_true: Tensor
    """(G,) int64: which that is, the first of equals."""


def matched(boxes: Tensor, true: Tensor) -> Matched:
    """Match boxes (A, 4) with true boxes (G, 4), some pairs at a time.

    There must be boxes if there are true ones.
    """
    if not len(true):
        nothing = boxes.new_zeros(len(boxes))
        none = nothing[:0]
        return Matched(nothing, nothing.long(), none, none.long())
    n = max(1, _PAIRS // len(true))
    shared = (iou(part, true) for part in torch.split(boxes, n))
    by_box, by_true = zip(*((s.max(dim=1), s.max(dim=0)) for s in shared), strict=True)
    overlap, part = torch.stack([found.values for found in by_true]).max(dim=0)
    place = torch.stack([found.indices for found in by_true])
    return Matched(
        torch.cat([found.values for found in by_box]),
        torch.cat([found.indices for found in by_box]),
        overlap,
        part * n + place.gather(0, part[None])[0],
    )


def encode(boxes: Tensor, anchors: Tensor, weights: Weights = UNIT) -> Tensor:
    """Return boxes as offsets from anchors.

    Parameters
    ----------
    boxes, anchors : (..., 4)
    weights
        Of the four offsets.

    Returns
    -------
    (..., 4)
        dx, dy by the anchor's sides, and the logarithms dw, dh of the ratios of sides.

    References
    ----------
    Girshick et al. 2014, *R-CNN*, appendix C; Ren et al. 2015, *Faster R-CNN*, eq. 2.
    """
    centre, sides = _centre_and_sides(boxes)
    from_centre, from_sides = _centre_and_sides(anchors)
    offsets = ((centre - from_centre) / from_sides, (sides / from_sides).log())
    return torch.cat(offsets, dim=-1) * boxes.new_tensor(weights)


def decode(offsets: Tensor, anchors: Tensor, weights: Weights = UNIT) -> Tensor:
    """Return the boxes that ``encode`` was given.

    Parameters
    ----------
    offsets, anchors : (..., 4)
        dw and dh beyond ``LARGEST_STEP`` are cut.
    weights
        Those of ``encode``.
    """
    offsets = offsets / offsets.new_tensor(weights)
    centre, sides = _centre_and_sides(anchors)
    centre = centre + offsets[..., :2] * sides
    half = offsets[..., 2:].clamp(max=LARGEST_STEP).exp() * sides / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def _centre_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + sides / 2, sides


def clipped(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return boxes (..., 4) cut to an image."""
    most = boxes.new_tensor((width, height, width, height))
    return boxes.clamp(min=0).minimum(most)


def nms(
    boxes: Tensor, scores: Tensor, threshold: float, groups: Tensor | None = None
) -> Tensor:
    """Suppress, from the best downwards, what overlaps something better that is left.

    Exactly the greedy algorithm, with torchvision's kernel where it imports.

    Parameters
    ----------
    boxes : (N, 4)
    scores : (N,)
        Of equal ones the earlier box is the better.
    threshold
        Boxes with a larger IoU are doubles.
    groups : (N,) int, optional
        Boxes of different groups don't suppress each other.

    Returns
    -------
    (M,) int64
        Rows that are left, best first.
    """
    ops = torchvision_ops()
    suppress = _nms if ops is None else ops.nms
    if groups is None:
        rows: Tensor = suppress(boxes, scores, threshold)
        return rows
    left = torch.zeros_like(scores, dtype=torch.bool)
    for group in torch.unique(groups):
        members = (groups == group).nonzero()[:, 0]
        left[members[suppress(boxes[members], scores[members], threshold)]] = True
    order = scores.argsort(descending=True, stable=True)
    return order[left[order]]


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Decide block by block: first by the better blocks' survivors, then within it."""
    order = scores.argsort(descending=True, stable=True)
    kept, rows = boxes[:0], [order[:0]]
    for block in torch.split(order, _BLOCK):
        free = block[~(iou(boxes[block], kept) > threshold).any(dim=1)]
        here = boxes[free]
        left = first_served(iou(here, here) > threshold)
        rows.append(free[left])
        kept = torch.cat((kept, here[left]))
    return torch.cat(rows)


def first_served(conflicts: Tensor) -> Tensor:
    """Drop, row by row, what conflicts with an earlier row that is left.

    All rows are decided at once, again and again. What conflicts with nothing earlier
    is right from the start, and whatever has only such before it from the next round
    on; so the answer that no longer changes, after as many rounds as the longest chain
    of conflicts, is the only one there is.

    Parameters
    ----------
    conflicts : (N, N) bool
        Symmetric; the diagonal is not looked at.

    Returns
    -------
    (N,) bool
        Which are left.
    """
    earlier = conflicts.triu(1)
    left = ~torch.zeros_like(earlier[0] if len(earlier) else earlier.flatten())
    while True:
        again = ~(earlier & left[:, None]).any(dim=0)
        if torch.equal(again, left):
            return left
        left = again


def fast_nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Suppress what overlaps anything better, be that suppressed itself or not.

    Parameters
    ----------
    boxes, scores, threshold
        As for ``nms``.

    Returns
    -------
    (M,) int64
        Rows that are left, best first: a subset of what ``nms`` leaves.

    References
    ----------
    Bolya et al. 2019, *YOLACT: Real-time Instance Segmentation*, section 4.4.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    left = [torch.zeros_like(order[:0], dtype=torch.bool)]
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        doubles = iou(ranked[:stop], ranked[start:stop]) > threshold
        left.append(~doubles.triu(1 - start).any(dim=0))
    return order[torch.cat(left)]
