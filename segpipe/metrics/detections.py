"""Nuclei as points: which found centres belong to which true ones, and their types."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from segpipe.errors import ShapeMismatch
from segpipe.metrics.overlap import Floats, Ints, best_pairing

DETECTION_RADIUS_PX = 12.0
"""At 0.25 mpp, 3 micrometres; Graham et al. 2019, *HoVer-Net*, section 4.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedLabels:
    """A label map and the type of each of its instances.

    Raises
    ------
    ShapeMismatch
        If there is not one type an instance.
    """

    labels: NDArray[Any]
    """(Y, X) int, any ids, 0 is background."""
    types: Ints
    """(N,) type of each instance by ascending id, from 1; 0 is unknown."""

    def __post_init__(self) -> None:
        n_labels = len(centres(self.labels))
        if n_labels != len(self.types):
            message = f"{n_labels} instances can't have {len(self.types)} types."
            raise ShapeMismatch(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeCounts:
    """Outcomes of one nucleus type. Counts of several images add up."""

    right: int = 0
    """Detected, and both sides say this type."""
    wrongly: int = 0
    """Detected, called this type, truly another."""
    missed: int = 0
    """Detected, truly this type, called another."""
    invented: int = 0
    """Found as this type where no nucleus is."""
    overlooked: int = 0
    """True nuclei of this type that were not found."""

    def __add__(self, other: TypeCounts) -> TypeCounts:
        sums = {
            f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)
        }
        return TypeCounts(**sums)


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
    ids, at = np.unique(labels.ravel()[starts], return_inverse=True)
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


def count_types(
    truth: TypedLabels,
    found: TypedLabels,
    *,
    n_types: int,
    radius_px: float = DETECTION_RADIUS_PX,
) -> tuple[TypeCounts, ...]:
    """Compare the types of nuclei.

    Parameters
    ----------
    truth, found
        Label maps with the type of each instance.
    n_types
        How many types there are.
    radius_px
        How far a found centre may lie from the true one.

    Returns
    -------
    tuple
        One per type, from type 1.
    """
    at, to = match_centres(truth.labels, found.labels, radius_px)
    pairs = np.zeros((n_types + 1, n_types + 1), np.int64)
    np.add.at(pairs, (truth.types[at], found.types[to]), 1)
    lost = np.bincount(np.delete(truth.types, at), minlength=n_types + 1)
    extra = np.bincount(np.delete(found.types, to), minlength=n_types + 1)
    return tuple(
        TypeCounts(
            right=int(pairs[k, k]),
            wrongly=int(pairs[:, k].sum() - pairs[k, k]),
            missed=int(pairs[k].sum() - pairs[k, k]),
            invented=int(extra[k]),
            overlooked=int(lost[k]),
        )
        for k in range(1, n_types + 1)
    )
