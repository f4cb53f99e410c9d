"""HoVer-Net's offsets: how far each pixel lies from the centre of its instance."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap
from segpipe.targets._dense import dense_ids


def hv_target(labels: LabelMap) -> NDArray[np.float32]:
    """Return each pixel's offset from its instance's centre of mass.

    The centre is rounded to a whole pixel, and each side (left and right, above and
    below) is divided by its own largest offset, so that each runs to -1 or 1 exactly.

    Parameters
    ----------
    labels : (Y, X) int
        Any ids; 0 is background.

    Returns
    -------
    (2, Y, X) float32
        Horizontal, vertical offset in [-1, 1]; 0 outside instances.

    References
    ----------
    Graham et al. 2019, *HoVer-Net*, Medical Image Analysis 58, section 3.1.
    """
    dense = dense_ids(labels)
    centre = _centres(dense, int(dense.max(initial=0)) + 1)
    reach = _reaches(dense, centre)
    hv: NDArray[np.float32] = _offsets(dense, centre, reach)
    return hv


@njit(cache=True, nogil=True)
def _centres(labels: NDArray[np.int64], n_ids: int) -> NDArray[np.int64]:
    """Return the centre of mass of each id, x then y, to the nearest whole pixel."""
    sums = np.zeros((3, n_ids), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            i = labels[y, x]
            sums[0, i] += x
            sums[1, i] += y
            sums[2, i] += 1
    count = np.maximum(sums[2], 1)
    centre: NDArray[np.int64] = np.floor(sums[:2] / count + 0.5).astype(np.int64)
    return centre


@njit(cache=True, nogil=True)
def _reaches(labels: NDArray[np.int64], centre: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest offset of each id left, right; above, below."""
    reach = np.ones((2, 2, centre.shape[1]), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            i = labels[y, x]
            for axis in range(2):
                offset = (x, y)[axis] - centre[axis, i]
                side = int(offset > 0)
                reach[axis, side, i] = max(reach[axis, side, i], abs(offset))
    return reach


@njit(cache=True, nogil=True)
def _offsets(
    labels: NDArray[np.int64], centre: NDArray[np.int64], reach: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return each pixel's offset by the reach of its side."""
    hv = np.zeros((2, *labels.shape), np.float32)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            i = labels[y, x]
            if i > 0:
                for axis in range(2):
                    offset = (x, y)[axis] - centre[axis, i]
                    hv[axis, y, x] = offset / reach[axis, int(offset > 0), i]
    return hv
