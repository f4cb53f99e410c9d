"""Nucleus types: which are confused with which, and how well each one is outlined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.errors import ShapeMismatch
from segpipe.metrics.adding import Additive
from segpipe.metrics.counts import MATCH_IOU
from segpipe.metrics.overlap import Ints, Overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """The type of each instance of two label maps, by ascending id.

    Raises
    ------
    ShapeMismatch
        If a type is beyond ``n_types``.
    """

    truth: Ints
    """(T,) types of the true instances, from 1; 0 is unknown."""
    found: Ints
    """(F,) types of the found instances, from 1; 0 is none."""
    n_types: int

    def __post_init__(self) -> None:
        largest = max(self.truth.max(initial=0), self.found.max(initial=0))
        if largest > self.n_types:
            message = f"Type {largest} is beyond the {self.n_types} types there are."
            raise ShapeMismatch(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeCounts(Additive):
    """Outcomes of one nucleus type. Counts of several images add up."""

    right: int = 0
    """Detected, and both sides say this type."""
    wrongly: int = 0
    """Detected, called this type, truly another."""
    missed: int = 0
    """Detected, truly this type, called another or none."""
    invented: int = 0
    """Found as this type where no nucleus is."""
    overlooked: int = 0
    """True nuclei of this type that were not found."""
    n_truth: int = 0
    """True instances of this type."""
    n_found: int = 0
    """Found instances of this type, but those that match a nucleus of unknown type."""
    n_matched: int = 0
    """Pairs above ``MATCH_IOU`` of which both are of this type."""
    matched_iou: float = 0.0
    """Sum of their IoU."""


def confusion(typing: Typing, pairs: tuple[Ints, Ints]) -> Ints:
    """Count which type was taken for which.

    Parameters
    ----------
    typing
        Types of the instances.
    pairs : (Q,) int64, (Q,) int64
        Ranks of the paired instances, as ``match_centres`` returns them.

    Returns
    -------
    (K + 2, K + 2) int64
        Rows are the truth, columns what was found: 0 unknown, 1..K the types, K + 1 no
        nucleus. Matrices of several images add up.
    """
    at, to = pairs
    nothing = typing.n_types + 1
    table = np.zeros((nothing + 1, nothing + 1), np.int64)
    np.add.at(table, (typing.truth[at], typing.found[to]), 1)
    size = nothing + 1
    table[:, nothing] = np.bincount(np.delete(typing.truth, at), minlength=size)
    table[nothing] += np.bincount(np.delete(typing.found, to), minlength=size)
    return table


def count_types(
    typing: Typing, confused: Ints, table: Overlap
) -> tuple[TypeCounts, ...]:
    """Compare the nuclei of each type.

    Nuclei whose true type is unknown are left out.

    Parameters
    ----------
    typing
        Types of the instances.
    confused : (K + 2, K + 2) int64
        Their confusion.
    table
        Overlaps of the instances.

    Returns
    -------
    tuple
        One per type, from type 1.
    """
    matched = table.iou > MATCH_IOU
    truth, found = (
        of[at[matched]]
        for of, at in ((typing.truth, table.truth), (typing.found, table.found))
    )
    iou, both = table.iou[matched], truth == found
    known = confused[1:-1, 1:-1]
    return tuple(
        TypeCounts(
            right=int(confused[k, k]),
            wrongly=int(known[:, k - 1].sum() - confused[k, k]),
            missed=int(confused[k, :-1].sum() - confused[k, k]),
            invented=int(confused[-1, k]),
            overlooked=int(confused[k, -1]),
            n_truth=int((typing.truth == k).sum()),
            n_found=int((typing.found == k).sum() - (found[truth == 0] == k).sum()),
            n_matched=int((both & (truth == k)).sum()),
            matched_iou=float(iou[both & (truth == k)].sum()),
        )
        for k in range(1, typing.n_types + 1)
    )
