"""Nuclei as points: which found centres belong to which true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from segpipe.labels.equivalence import equivalence_classes
from segpipe.metrics.overlap import Floats, Ints, best_pairing, ids_and_ranks

Flags = NDArray[np.bool_]

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
    return match_points(centres(truth), centres(found), radius_px)


def match_points(truth: Floats, found: Floats, radius_px: float) -> tuple[Ints, Ints]:
    """Pair points as `match_centres` does.

    Parameters
    ----------
    truth, found : (N, 2), (M, 2) float64
        y, x of the points.
    radius_px
        How far two of them may lie apart.

    Returns
    -------
    (Q,) int64, (Q,) int64
        Ranks of the paired points.
    """
    near = _near(truth, found, radius_px)
    # A pair is worth more than any gain in distance: the number of pairs comes first.
    value = 1e4 * radius_px - near["v"]
    chosen = best_pairing(near["i"], near["j"], value)
    return near["i"][chosen], near["j"][chosen]


def settled(
    truth: Floats, found: Floats, radius_px: float, *, below_y: float
) -> tuple[Flags, Flags]:
    """Say which points are paired alike whatever points lie at ``below_y`` and beyond.

    Points within the radius of each other may be paired, and a pair that is made takes
    a partner from others: so those that hang together are settled together.

    Returns
    -------
    (N,) bool, (M,) bool
    """
    near = _near(truth, found, radius_px)
    pairs = np.stack((near["i"], near["j"] + len(truth)), axis=1).astype(np.int64)
    group = equivalence_classes(pairs, len(truth) + len(found))[1]
    y = np.concatenate([truth[:, 0], found[:, 0]])
    is_settled = ~np.isin(group, group[y >= below_y - radius_px])
    return is_settled[: len(truth)], is_settled[len(truth) :]


def _near(truth: Floats, found: Floats, radius_px: float) -> NDArray[Any]:
    """Return the pairs of points within a radius: ranks i and j, and distance v."""
    if len(truth) == 0 or len(found) == 0:
        kinds = [("i", np.int64), ("j", np.int64), ("v", np.float64)]
        return np.zeros(0, kinds)
    near: NDArray[Any] = KDTree(truth).sparse_distance_matrix(
        KDTree(found), radius_px, output_type="ndarray"
    )
    return near
