"""Nuclei as points: which found centres belong to which true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from segpipe.metrics.overlap import Floats, Ints, best_pairing, ids_and_ranks

DETECTION_RADIUS_PX = 12.0
"""At 0.25 mpp, 3 micrometres; Graham et al. 2019, *HoVer-Net*, section 4.2."""


def centres(labels: NDArray[Any]) -> Floats:
    """Return the centre of mass y, x of each instance, by ascending id.

    Returns
    -------
    (N, 2) float64
    """
    changes = np.ones(labels.shape, np.bool_)
    changes[:, 1:] = labels[:, 1:] != labels[:, :-1]
    starts = np.flatnonzero(changes)
    length = np.diff(starts, append=labels.size)
    inside = labels.ravel()[starts] != 0
    starts, length = starts[inside], length[inside]
    ids, at = ids_and_ranks(labels.ravel()[starts])
    y, x = np.divmod(starts, max(labels.shape[1], 1))
    weighted = (length, length * y, length * (x + (length - 1) / 2))
    area, *sums = (np.bincount(at, weights=w, minlength=len(ids)) for w in weighted)
    located: Floats = np.stack(sums, axis=1) / area[:, None]
    return located


def match_centres(
    truth: NDArray[Any], found: NDArray[Any], radius_px: float
) -> tuple[Ints, Ints]:
    """Pair centres that lie within a radius: as many as can be, the closest first.

    HoVer-Net pairs all centres for the smallest total distance and then drops those
    beyond the radius; here those are never candidates, so that a far nucleus can't
    change a near pair.

    Parameters
    ----------
    truth, found : (Y, X) int
        Label maps.
    radius_px
        How far two centres may lie apart.

    Returns
    -------
    (Q,) int64, (Q,) int64
        Ranks of the paired ids among the ids of either map.
    """
    from_truth, from_found = centres(truth), centres(found)
    if len(from_truth) == 0 or len(from_found) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = KDTree(from_truth).sparse_distance_matrix(
        KDTree(from_found), radius_px, output_type="ndarray"
    )
    # A pair is worth more than any gain in distance: the number of pairs comes first.
    value = 1e4 * radius_px - near["v"]
    chosen = best_pairing(near["i"], near["j"], value)
    return near["i"][chosen], near["j"][chosen]
