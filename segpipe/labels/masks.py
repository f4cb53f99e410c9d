"""Arithmetic of scored masks, mask by mask in compiled loops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.errors import ShapeMismatch
from segpipe.geometry import Box
from segpipe.labels.detections import Boxes, Detections, Unpacked, first_pixels

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Names = NDArray[np.int32]


def of_planes(
    planes: NDArray[np.bool_], scores: Bytes, types: Bytes, *, at: Box
) -> Detections:
    """Pack masks that are given as whole planes.

    Parameters
    ----------
    planes : (N, Y, X) bool
        One plane per mask. Empty ones are left out.
    scores, types : (N,) uint8
        As in ``Detections``.
    at : Box
        Where the planes lie in the canvas.

    Raises
    ------
    ShapeMismatch
        If the planes don't fill the box.
    """
    if planes.shape[1:] != at.shape:
        message = f"Planes of {planes.shape[1:]} don't fill {at} of {at.shape}."
        raise ShapeMismatch(message)
    n = len(planes)
    whole = np.tile(np.array([at.y0, at.x0, at.y1, at.x1], np.int64), (n, 1))
    masks = Unpacked(whole, planes.ravel().view(np.uint8), np.arange(n + 1) * at.area)
    return in_tight_boxes(masks, scores, types)


def in_tight_boxes(masks: Unpacked, scores: Bytes, types: Bytes) -> Detections:
    """Pack masks that are given in boxes of any size.

    Parameters
    ----------
    masks
        Where each begins is in ``firsts``, whatever lies between; there need be no
        padding. Empty ones are left out.
    scores, types : (N,) uint8
        As in ``Detections``.
    """
    return _packed(masks, scores, types)[0]


def one_piece(
    detections: Detections, within: Box | None = None
) -> tuple[Detections, Ints]:
    """Cut masks to a box, then each to the largest of its 4-connected pieces.

    Of pieces of equal size the one whose first pixel comes first in raster order stays.

    Parameters
    ----------
    detections
        The masks.
    within : Box or None
        Pixels outside are dropped.

    Returns
    -------
    Detections
        In tight boxes; those of which nothing is left are gone.
    rows : (M,) int64
        Which of the given they are, ascending.
    """
    masks = detections.unpacked()
    if within is not None:
        _keep_within(masks, np.array([within.y0, within.x0, within.y1, within.x1]))
    _keep_largest(masks)
    return _packed(masks, detections.scores, detections.types)


def _packed(masks: Unpacked, scores: Bytes, types: Bytes) -> tuple[Detections, Ints]:
    """Pack the masks that aren't empty in tight boxes; say which rows they are."""
    tight = _tight(masks)
    rows = np.flatnonzero(tight[:, 2] > tight[:, 0])
    filled = Unpacked(masks.boxes[rows], masks.pixels, masks.firsts[rows])
    cut = _cropped(filled, tight[rows])
    return Detections.packed(cut, scores[rows], types[rows]), rows


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPixels:
    """Every pair of masks that share a pixel, and how many they share."""

    one: Ints
    """(Q,) the lower row of each pair."""
    other: Ints
    """(Q,) the higher row."""
    n_shared: Ints
    """(Q,) pixels in both, at least 1."""

    def where(self, chosen: NDArray[np.bool_]) -> SharedPixels:
        """Return some of the pairs."""
        return SharedPixels(
            one=self.one[chosen],
            other=self.other[chosen],
            n_shared=self.n_shared[chosen],
        )

    def among(self, there: NDArray[np.bool_]) -> SharedPixels:
        """Return the pairs of which both are there, counted among those alone."""
        both = self.where(there[self.one] & there[self.other])
        row_of = np.cumsum(there) - 1
        return SharedPixels(
            one=row_of[both.one], other=row_of[both.other], n_shared=both.n_shared
        )


def shared_pixels(detections: Detections) -> SharedPixels:
    """Find the pairs of masks that share a pixel.

    Sweeps downwards over the boxes, so the cost is that of the pairs whose rows
    overlap, not of all pairs.
    """
    masks = detections.unpacked()
    found = _shared(masks, np.argsort(masks.boxes[:, 0], kind="stable"))
    one, other = found[:, :2].min(axis=1), found[:, :2].max(axis=1)
    return SharedPixels(one=one, other=other, n_shared=found[:, 2])


@njit(cache=True, nogil=True)
def _shared(masks: Unpacked, order: Ints) -> Ints:
    boxes = masks.boxes
    found = np.empty((max(16, 2 * len(boxes)), 3), np.int64)
    n_found = 0
    for rank in range(len(order)):
        i = order[rank]
        for later in range(rank + 1, len(order)):
            j = order[later]
            if boxes[j, 0] >= boxes[i, 2]:
                break
            if boxes[j, 1] >= boxes[i, 3] or boxes[i, 1] >= boxes[j, 3]:
                continue
            n_shared = _n_shared(masks, i, j)
            if n_shared > 0:
                if n_found == len(found):
                    wider = np.empty((2 * n_found, 3), np.int64)
                    wider[:n_found] = found
                    found = wider
                found[n_found] = i, j, n_shared
                n_found += 1
    return found[:n_found]


@njit(cache=True, nogil=True)
def _n_shared(masks: Unpacked, i: int, j: int) -> int:
    y0, x0, y1, x1 = common_box(masks, i, j)
    n_shared = 0
    for y in range(y0, y1):
        one, two = row_start(masks, i, y), row_start(masks, j, y)
        for x in range(x0, x1):
            n_shared += masks.pixels[one + x] & masks.pixels[two + x]
    return n_shared


@njit(cache=True, nogil=True)
def common_box(masks: Unpacked, i: int, j: int) -> tuple[int, int, int, int]:
    """Return the box that two masks' boxes share; maybe inside out."""
    one, other = masks.boxes[i], masks.boxes[j]
    return (
        max(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        min(one[3], other[3]),
    )


@njit(cache=True, nogil=True)
def row_start(masks: Unpacked, i: int, y: int) -> int:
    """Return where in ``pixels`` column 0 of the canvas would be in row y of a mask."""
    box = masks.boxes[i]
    return int(masks.firsts[i] + (y - box[0]) * (box[3] - box[1]) - box[1])


@njit(cache=True, nogil=True)
def _tight(masks: Unpacked) -> Boxes:
    """Find the smallest box of each mask's pixels; empty where it has none."""
    tight = np.empty_like(masks.boxes)
    for i in range(len(tight)):
        y0, x0, y1, x1 = masks.boxes[i]
        top, left, bottom, right = y1, x1, y0, x0
        at = masks.firsts[i]
        for y in range(y0, y1):
            for x in range(x0, x1):
                if masks.pixels[at]:
                    top, left = min(top, y), min(left, x)
                    bottom, right = y + 1, max(right, x + 1)
                at += 1
        if bottom <= top:
            top, left, bottom, right = y0, x0, y0, x0
        tight[i] = top, left, bottom, right
    return tight


def _cropped(masks: Unpacked, boxes: Boxes) -> Unpacked:
    """Copy masks into smaller boxes."""
    firsts = first_pixels(boxes)
    cropped = Unpacked(boxes, np.zeros(firsts[-1], np.uint8), firsts)
    _copy(masks, cropped)
    return cropped


@njit(cache=True, nogil=True)
def _copy(masks: Unpacked, smaller: Unpacked) -> None:
    for i in range(len(smaller.boxes)):
        y0, x0, y1, x1 = smaller.boxes[i]
        to = smaller.firsts[i]
        for y in range(y0, y1):
            row = row_start(masks, i, y)
            for x in range(x0, x1):
                smaller.pixels[to] = masks.pixels[row + x]
                to += 1


@njit(cache=True, nogil=True)
def _keep_within(masks: Unpacked, limits: Ints) -> None:
    for i in range(len(masks.boxes)):
        y0, x0, y1, x1 = masks.boxes[i]
        if y0 >= limits[0] and x0 >= limits[1] and y1 <= limits[2] and x1 <= limits[3]:
            continue
        at = masks.firsts[i]
        for y in range(y0, y1):
            for x in range(x0, x1):
                if not (limits[0] <= y < limits[2] and limits[1] <= x < limits[3]):
                    masks.pixels[at] = 0
                at += 1


@njit(cache=True, nogil=True)
def _keep_largest(masks: Unpacked) -> None:
    """Clear all pixels but those of the largest piece; a flood fill per piece."""
    largest = 0
    for y0, x0, y1, x1 in masks.boxes:
        largest = max(largest, (y1 - y0 + 2) * (x1 - x0 + 2))
    names, stack = np.empty(largest, np.int32), np.empty(largest, np.int32)
    for i in range(len(masks.boxes)):
        y0, x0, y1, x1 = masks.boxes[i]
        n_framed = (y1 - y0 + 2) * (x1 - x0 + 2)
        framed = names[:n_framed].reshape(y1 - y0 + 2, x1 - x0 + 2)
        _frame(masks.pixels, masks.firsts[i], framed)
        n_pieces, best, best_px = 0, 0, 0
        for seed in range(n_framed):
            if names[seed] == _UNNAMED:
                n_pieces += 1
                n_px = _fill(names, stack, seed, framed.shape[1], n_pieces)
                if n_px > best_px:
                    best, best_px = n_pieces, n_px
        if n_pieces > 1:
            at = masks.firsts[i]
            for y in range(1, y1 - y0 + 1):
                for x in range(1, x1 - x0 + 1):
                    masks.pixels[at] = framed[y, x] == best
                    at += 1


_UNNAMED = np.int32(-1)


@njit(cache=True, nogil=True)
def _frame(pixels: Bytes, at: int, framed: Names) -> None:
    """Copy a mask into a frame of background, which spares tests for the border."""
    framed[:] = 0
    for y in range(1, framed.shape[0] - 1):
        for x in range(1, framed.shape[1] - 1):
            if pixels[at]:
                framed[y, x] = _UNNAMED
            at += 1


@njit(cache=True, nogil=True)
def _fill(names: Names, stack: Names, seed: int, width: int, name: int) -> int:
    """Name the pixels 4-connected to a seed; return how many they are."""
    names[seed] = name
    stack[0] = seed
    top, n_px = 1, 0
    while top > 0:
        top -= 1
        pixel = stack[top]
        n_px += 1
        for step in (-width, -1, 1, width):
            neighbour = pixel + step
            if names[neighbour] == _UNNAMED:
                names[neighbour] = name
                stack[top] = neighbour
                top += 1
    return n_px
