"""What the network says of a nucleus as a whole: sums of its maps over the pixels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.tables.crops import Crops


def map_sums(crops: Crops, maps: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sum each channel of a quantised map over the pixels of each nucleus.

    Parameters
    ----------
    crops
        The nuclei.
    maps : (K, Y, X) uint8
        Channels in units of 1/255.

    Returns
    -------
    (N, K) int64
        In units of 1/255.
    """
    sums: NDArray[np.int64] = _sums(crops.labels, crops.ids, crops.boxes, maps)
    return sums


def heaviest(sums: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return which channel is largest, counted from 1; 0 where all are zero.

    The first of equals wins, so the outcome is the same everywhere.

    Parameters
    ----------
    sums : (N, K) int64
        Sums of the channels.

    Returns
    -------
    (N,) uint8
    """
    if sums.shape[1] == 0:
        return np.zeros(len(sums), np.uint8)
    winner = np.argmax(sums, axis=1)
    return np.where(sums.max(axis=1) > 0, winner + 1, 0).astype(np.uint8)


@njit(cache=True, nogil=True)
def _sums(
    labels: NDArray[np.uint32],
    ids: NDArray[np.uint32],
    boxes: NDArray[np.int64],
    maps: NDArray[np.uint8],
) -> NDArray[np.int64]:
    sums = np.zeros((ids.size, maps.shape[0]), np.int64)
    for row in range(ids.size):
        y0, x0, y1, x1 = boxes[row]
        for channel in range(maps.shape[0]):
            total = 0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if labels[y, x] == ids[row]:
                        total += maps[channel, y, x]
            sums[row, channel] = total
    return sums
