"""How much pixels count where instances are small, or lie close to one another.

A loss is a mean over pixels, a score counts instances: a small nucleus has few pixels,
and whether two touching ones are told apart is decided by the few between them.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, Mask
from segpipe.targets._dense import dense_ids


def size_weight(
    labels: LabelMap, *, area_px: float, most: float
) -> NDArray[np.float32]:
    """Return how much each pixel counts: more in a small instance, less in a large one.

    ``sqrt(area_px / area)``: by 1 / area each instance would count the same, by 1 each
    pixel, and this lies between.

    Parameters
    ----------
    labels : (Y, X) int
    area_px
        An instance of this area has weight 1.
    most
        The largest weight; ``1 / most`` is the smallest.

    Returns
    -------
    (Y, X) float32
        1 in the background.
    """
    dense = dense_ids(labels)
    area = np.bincount(dense.ravel(), minlength=1).astype(np.float64)
    area[0] = area_px
    weight = np.clip(np.sqrt(area_px / area), 1 / most, most)
    found: NDArray[np.float32] = weight.astype(np.float32)[dense]
    return found


def near_two(labels: LabelMap, *, reach_px: int) -> Mask:
    """Return where two instances lie within reach (chessboard) of the same pixel.

    Borders between touching instances and narrow gaps between others, and the pixels
    on both sides of them.

    Parameters
    ----------
    labels : (Y, X) int
    reach_px
        1 and more.

    Returns
    -------
    (Y, X) bool
    """
    found: Mask = _near_two(labels.astype(np.int64, order="C", copy=False), reach_px)
    return found


@njit(cache=True, nogil=True)
def _near_two(labels: NDArray[np.int64], reach: int) -> Mask:
    """Compare the least and the largest id in reach: along rows, then along columns."""
    height, width = labels.shape
    none = np.iinfo(np.int64).max
    least = np.full(labels.shape, none, np.int64)
    largest = np.zeros(labels.shape, np.int64)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label > 0:
                for to in range(max(0, x - reach), min(width, x + reach + 1)):
                    least[y, to] = min(least[y, to], label)
                    largest[y, to] = max(largest[y, to], label)
    found = np.zeros(labels.shape, np.bool_)
    for y in range(height):
        top, bottom = max(0, y - reach), min(height, y + reach + 1)
        for x in range(width):
            low, high = none, np.int64(0)
            for at in range(top, bottom):
                low = min(low, least[at, x])
                high = max(high, largest[at, x])
            found[y, x] = high > low
    return found
