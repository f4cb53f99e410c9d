"""Renaming the ids of a label map."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap


@njit(cache=True, nogil=True)
def in_raster_order(labels: LabelMap, n_labels: int) -> NDArray[np.int32]:
    """Rename ids in place to 1..n in raster order of first pixel.

    Parameters
    ----------
    labels : (Y, X) int32
        Ids up to ``n_labels``; changed in place.
    n_labels : int
        The largest id that may occur.

    Returns
    -------
    (n_labels + 1,) int32
        New id of each old one; 0 for those that don't occur.
    """
    names = np.zeros(n_labels + 1, np.int32)
    found = 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label != 0:
                if names[label] == 0:
                    found += 1
                    names[label] = found
                labels[y, x] = names[label]
    return names


def are_equivalent(one: NDArray[np.integer], other: NDArray[np.integer]) -> bool:
    """Whether two label maps are the same up to renaming ids; 0 only equals 0.

    Parameters
    ----------
    one, other : (Y, X) integers
        Label maps.
    """
    if one.shape != other.shape:
        return False
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[
        1
    ] and not np.any((pairs[0] == 0) != (pairs[1] == 0))
