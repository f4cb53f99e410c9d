"""Label maps with any ids, renamed to 0, 1, 2, …: what tables by id need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap

_MOST_LISTED = 1 << 20
"""Ids above this are sorted instead of looked up in a table of all ids."""


def dense_ids(labels: LabelMap) -> NDArray[np.int64]:
    """Rename ids to 0 (background), 1, 2, … in ascending order."""
    highest = int(labels.max(initial=0))
    if highest > _MOST_LISTED:
        ids, dense = np.unique(labels, return_inverse=True)
        return np.asarray(dense.reshape(labels.shape) + int(ids[0] != 0), np.int64)
    occurs = np.zeros(highest + 1, np.bool_)
    occurs[labels.ravel()] = True
    occurs[0] = True
    names = np.cumsum(occurs) - 1
    return np.asarray(names[labels], np.int64)
