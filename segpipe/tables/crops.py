"""Where each nucleus lies in a label map: everything is measured on its own crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.errors import ShapeMismatch, StageFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """The extents of nuclei in one label map."""

    labels: NDArray[np.uint32]
    """(Y, X) the label map."""
    ids: NDArray[np.uint32]
    """(N,) ids of the nuclei, ascending."""
    boxes: NDArray[np.int64]
    """(N, 4) half-open y0, x0, y1, x1 of each, in pixels of the label map."""
    area_px: NDArray[np.int64]
    """(N,) pixels of each."""


def find_crops(labels: NDArray[Any], ids: NDArray[Any]) -> Crops:
    """Find the extents of nuclei.

    Parameters
    ----------
    labels : (Y, X) uint32 or int32
        Label map; other ids than the wanted ones may be in it.
    ids : (N,) integer
        Wanted ids, ascending.

    Raises
    ------
    ShapeMismatch
        If ``labels`` is not 2-D or ``ids`` not ascending.
    StageFailed
        If a nucleus is not in the label map, or not in one 4-connected piece.
    """
    if labels.ndim != 2 or labels.dtype not in (np.uint32, np.int32):
        message = (
            "A label map is (Y, X) uint32 or int32; "
            f"this array is {labels.shape} {labels.dtype}."
        )
        raise ShapeMismatch(message)
    ids = np.ascontiguousarray(ids, np.uint32)
    if ids.ndim != 1 or np.any(ids[1:] <= ids[:-1]) or np.any(ids[:1] == 0):
        message = (
            "Ids of nuclei must be positive and ascend; "
            f"got {ids[:8]}… of shape {ids.shape}."
        )
        raise ShapeMismatch(message)
    labels = np.ascontiguousarray(labels).view(np.uint32)
    boxes, area_px = _extents(labels, ids)
    crops = Crops(labels=labels, ids=ids, boxes=boxes, area_px=area_px)
    _refuse_missing_or_torn(crops)
    return crops


def _refuse_missing_or_torn(crops: Crops) -> None:
    """Raise for the first nucleus that is absent or in several pieces."""
    missing = crops.ids[crops.area_px == 0]
    if missing.size:
        message = (
            f"{missing.size} of {crops.ids.size} nuclei are not in the label map of "
            f"shape {crops.labels.shape}, the first is {missing[0]}. "
            "Stitch the slide again: its labels and its ids disagree."
        )
        raise StageFailed(message)
    reached = _reached(crops.labels, crops.ids, crops.boxes)
    torn = np.flatnonzero(reached != crops.area_px)
    if torn.size:
        first = torn[0]
        message = (
            f"Nucleus {crops.ids[first]} is in several pieces: {reached[first]} of its "
            f"{crops.area_px[first]} pixels are 4-connected to its first one. "
            "Instances must be 4-connected; the stitcher made no such label map."
        )
        raise StageFailed(message)


@njit(cache=True, nogil=True)
def _extents(
    labels: NDArray[np.uint32], ids: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Box and area of each id, in one pass over runs of equal labels."""
    height, width = labels.shape
    boxes = np.zeros((ids.size, 4), np.int64)
    boxes[:, 0] = height
    boxes[:, 1] = width
    area_px = np.zeros(ids.size, np.int64)
    for y in range(height):
        x = 0
        while x < width:
            start = x
            label = labels[y, start]
            while x < width and labels[y, x] == label:
                x += 1
            row = np.searchsorted(ids, label)
            if row < ids.size and ids[row] == label:
                area_px[row] += x - start
                box = boxes[row]
                box[0] = min(box[0], y)
                box[1] = min(box[1], start)
                box[2] = y + 1
                box[3] = max(box[3], x)
    return boxes, area_px


@njit(cache=True, nogil=True)
def _reached(
    labels: NDArray[np.uint32], ids: NDArray[np.uint32], boxes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pixels of each nucleus that are 4-connected to its first one, by flood fill."""
    counts = np.zeros(ids.size, np.int64)
    if ids.size == 0:
        return counts
    largest = np.max((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    seen = np.empty(largest, np.bool_)
    stack = np.empty((largest, 2), np.int64)
    for row in range(ids.size):
        y0, x0, y1, x1 = boxes[row]
        width = x1 - x0
        seen[: (y1 - y0) * width] = False
        x = x0
        while labels[y0, x] != ids[row]:
            x += 1
        stack[0] = y0, x
        seen[x - x0] = True
        top = 1
        while top > 0:
            top -= 1
            y, x = stack[top]
            counts[row] += 1
            for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                v, u = y + dy, x + dx
                if v < y0 or v >= y1 or u < x0 or u >= x1:
                    continue
                place = (v - y0) * width + u - x0
                if labels[v, u] == ids[row] and not seen[place]:
                    seen[place] = True
                    stack[top] = v, u
                    top += 1
    return counts
