"""How many pixels the convex hull of a nucleus has, in whole numbers."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.tables.crops import Crops


def hull_areas_px(crops: Crops) -> NDArray[np.int64]:
    """Count the pixels whose centre lies in or on the convex hull of each nucleus.

    The hull is that of the midpoints of all pixel sides, which is scikit-image's
    ``area_convex``. Doubling the coordinates makes midpoints and centres integers: a
    centre has even coordinates, a midpoint one odd one, and no rounding occurs.

    Returns
    -------
    (N,) int64
    """
    areas: NDArray[np.int64] = _hull_areas(crops.labels, crops.ids, crops.boxes)
    return areas


@njit(cache=True, nogil=True)
def _hull_areas(
    labels: NDArray[np.uint32], ids: NDArray[np.uint32], boxes: NDArray[np.int64]
) -> NDArray[np.int64]:
    areas = np.zeros(ids.size, np.int64)
    if ids.size == 0:
        return areas
    tallest = np.max(boxes[:, 2] - boxes[:, 0])
    left = np.empty(2 * tallest + 1, np.int64)
    right = np.empty(2 * tallest + 1, np.int64)
    chain = np.empty(2 * tallest + 1, np.int64)
    first = np.empty(tallest, np.int64)
    last = np.empty(tallest, np.int64)
    for row in range(ids.size):
        height = boxes[row, 2] - boxes[row, 0]
        _profile(labels, ids[row], boxes[row], left, right)
        _smallest_even(left, height, chain, first)
        _smallest_even(right, height, chain, last)
        for y in range(height):
            areas[row] += 1 - last[y] - first[y]
    return areas


@njit(cache=True, nogil=True)
def _profile(
    labels: NDArray[np.uint32],
    own: np.uint32,
    box: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> None:
    """Write how far the midpoints reach left and, negated, right on each half row.

    Row ``y`` of the box is half row ``2 y + 1``; its upper and lower sides are the half
    rows before and after.
    """
    y0, x0, y1, x1 = box
    left[: 2 * (y1 - y0) + 1] = 2 * (x1 - x0)
    right[: 2 * (y1 - y0) + 1] = 0
    for y in range(y1 - y0):
        start, stop = x0, x1 - 1
        while labels[y0 + y, start] != own:
            start += 1
        while labels[y0 + y, stop] != own:
            stop -= 1
        start, stop = 2 * (start - x0), 2 * (x0 - stop)
        for half, reach in ((2 * y, 0), (2 * y + 1, 1), (2 * y + 2, 0)):
            left[half] = min(left[half], start - reach)
            right[half] = min(right[half], stop - reach)


@njit(cache=True, nogil=True)
def _smallest_even(
    reach: NDArray[np.int64],
    height: int,
    chain: NDArray[np.int64],
    first: NDArray[np.int64],
) -> None:
    """Write half of the smallest even number in the lower convex hull at each row.

    ``chain`` holds the half rows that are vertices of the hull: Andrew's monotone
    chain, whose points come sorted already.
    """
    size = 0
    for c in range(2 * height + 1):
        while size > 1:
            a, b = chain[size - 2], chain[size - 1]
            if (reach[b] - reach[a]) * (c - a) < (reach[c] - reach[a]) * (b - a):
                break
            size -= 1
        chain[size] = c
        size += 1
    side = 0
    for y in range(height):
        half = 2 * y + 1
        while chain[side + 1] < half:
            side += 1
        a, b = chain[side], chain[side + 1]
        above = reach[a] * (b - a) + (reach[b] - reach[a]) * (half - a)
        first[y] = -(-above // (2 * (b - a)))
