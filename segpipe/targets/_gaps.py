"""U-Net's weight map: the narrower a gap between instances, the more it counts."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap
from segpipe.targets._dense import dense_ids


def border_weight(
    labels: LabelMap,
    *,
    background: float = 1.0,
    foreground: float = 1.0,
    most: float = 10.0,
    sigma_px: float = 5.0,
) -> NDArray[np.float32]:
    """Return how much each pixel counts: its class's weight, and more in narrow gaps.

    In the background ``most * exp(-(d1 + d2)**2 / (2 * sigma_px**2))`` is added, with
    the distances ``d1`` and ``d2`` to the nearest and the second nearest instance.

    Parameters
    ----------
    labels : (Y, X) int
        With a separation line between instances, where gaps are to be learnt.
    background, foreground
        The classes' weights, the paper's w_c.
    most
        Its w_0.
    sigma_px
        Its sigma.

    Returns
    -------
    (Y, X) float32

    References
    ----------
    Ronneberger et al. 2015, *U-Net*, equation 2.
    """
    weight = np.where(labels > 0, foreground, background)
    nearest = two_nearest(labels)
    gap = np.sqrt(nearest[0]) + np.sqrt(nearest[1])
    near = most * np.exp(-(gap**2) / (2 * sigma_px**2))
    raised: NDArray[np.float32] = np.where(labels > 0, weight, weight + near).astype(
        np.float32
    )
    return raised


def two_nearest(labels: LabelMap) -> NDArray[np.float64]:
    """Return squared distances to the nearest and the second nearest instance.

    Exact: along each column the two nearest instances are noted, then each row is
    searched outwards until no column can hold anything nearer.

    Parameters
    ----------
    labels : (Y, X) int

    Returns
    -------
    (2, Y, X) float64
        Between pixel centres. Infinite where there are fewer instances, 0 inside.
    """
    nearest: NDArray[np.float64] = _two_nearest(dense_ids(labels).astype(np.int32))
    return nearest


@njit(cache=True, nogil=True)
def _note(
    found: NDArray[np.int32], away: NDArray[np.float64], label: int, distance: float
) -> None:
    """Keep the two nearest labels in ``found``, each at its least distance."""
    if label == found[0]:
        away[0] = min(away[0], distance)
    elif distance < away[0]:
        found[1], away[1] = found[0], away[0]
        found[0], away[0] = label, distance
    elif label == found[1] or distance < away[1]:
        found[1], away[1] = label, min(away[1], distance)


@njit(cache=True, nogil=True)
def _sweep(
    labels: NDArray[np.int32],
    found: NDArray[np.int32],
    away: NDArray[np.float64],
    start: int,
    step: int,
) -> None:
    """Carry the last two labels of each column along it, row by row."""
    height, width = labels.shape
    last = np.zeros((2, width), np.int32)
    seen = np.zeros((2, width), np.int32)
    for index in range(height):
        y = start + step * index
        for x in range(width):
            label = labels[y, x]
            if label > 0:
                if label != last[0, x]:
                    last[1, x], seen[1, x] = last[0, x], seen[0, x]
                last[0, x], seen[0, x] = label, y
            for rank in range(2):
                if last[rank, x] > 0:
                    distance = float((y - seen[rank, x]) ** 2)
                    _note(found[y, x], away[y, x], last[rank, x], distance)


@njit(cache=True, nogil=True)
def _two_nearest(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    height, width = labels.shape
    found = np.zeros((height, width, 2), np.int32)
    away = np.full((height, width, 2), np.inf)
    _sweep(labels, found, away, 0, 1)
    _sweep(labels, found, away, height - 1, -1)
    nearest = np.empty((2, height, width))
    best = np.empty(2, np.int32)
    reached = np.empty(2)
    for y in range(height):
        for x in range(width):
            best[:] = 0
            reached[:] = np.inf
            for apart in range(max(x, width - 1 - x) + 1):
                square = float(apart * apart)
                if square >= reached[1]:
                    break
                for column in (x - apart, x + apart):
                    if 0 <= column < width:
                        for rank in range(2):
                            far = square + away[y, column, rank]
                            if far < reached[1]:
                                _note(best, reached, found[y, column, rank], far)
            nearest[0, y, x] = reached[0]
            nearest[1, y, x] = reached[1]
    return nearest
