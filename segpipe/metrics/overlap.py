"""Which instances of two label maps overlap, and by how many pixels: a sparse table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from segpipe.errors import ShapeMismatch
from segpipe.labels.equivalence import equivalence_classes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Areas of the instances of two label maps and of every overlapping pair."""

    truth_ids: NDArray[Any]
    """(T,) ids of the true instances, ascending."""
    found_ids: NDArray[Any]
    """(F,) ids of the found instances, ascending."""
    truth_area: Ints
    """(T,) pixels of each true instance."""
    found_area: Ints
    """(F,) pixels of each found instance."""
    truth: Ints
    """(P,) index of the true instance of each pair, ascending; then by found."""
    found: Ints
    """(P,) index of the found instance of each pair."""
    common: Ints
    """(P,) pixels that the two share, at least one."""

    @property
    def union(self) -> Ints:
        """(P,) pixels that either of the two holds."""
        return self.truth_area[self.truth] + self.found_area[self.found] - self.common

    @property
    def iou(self) -> Floats:
        """(P,) common pixels by joint pixels."""
        return self.common / self.union


def overlap(truth: NDArray[Any], found: NDArray[Any]) -> Overlap:
    """Tabulate two label maps.

    Parameters
    ----------
    truth, found : (Y, X) int
        Any ids, 0 is background.

    Raises
    ------
    ShapeMismatch
        If the maps differ in shape.
    """
    if truth.shape != found.shape:
        message = f"The truth is {truth.shape}, the label map {found.shape}."
        raise ShapeMismatch(message)
    left, right, pixels = _runs(truth.ravel(), found.ravel())
    truth_ids, left_at, truth_area = _tally(left, pixels)
    found_ids, right_at, found_area = _tally(right, pixels)
    both = (left != 0) & (right != 0)
    key = left_at[both] * max(len(found_ids), 1) + right_at[both]
    pairs, at = np.unique(key, return_inverse=True)
    return Overlap(
        truth_ids=truth_ids,
        found_ids=found_ids,
        truth_area=truth_area,
        found_area=found_area,
        truth=pairs // max(len(found_ids), 1),
        found=pairs % max(len(found_ids), 1),
        common=sums(at, pixels[both], len(pairs)),
    )


def _runs(left: NDArray[Any], right: NDArray[Any]) -> tuple[Any, Any, Ints]:
    """Return the values and lengths of runs along which neither map changes."""
    if left.size == 0:
        return left, right, np.zeros(0, np.int64)
    changes = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    lengths = np.diff(starts, append=left.size)
    return left[starts], right[starts], lengths


def _tally(values: NDArray[Any], pixels: Ints) -> tuple[NDArray[Any], Ints, Ints]:
    """Return the ids but 0, the index of each run's id (-1 for 0), and areas."""
    ids, at = ids_and_ranks(values)
    area = sums(at, pixels, len(ids))
    skipped = int(len(ids) > 0 and ids[0] == 0)
    return ids[skipped:], at - skipped, area[skipped:]


def ids_and_ranks(values: NDArray[Any]) -> tuple[NDArray[Any], Ints]:
    """Return the ids that occur, ascending, and the rank of each value among them.

    As ``np.unique`` with its inverse; ids that fit a table need no sorting.
    """
    if values.size == 0 or values.min() < 0 or values.max() > 16 * values.size:
        ids, ranks = np.unique(values, return_inverse=True)
        return ids, ranks.astype(np.int64)
    occurs = np.zeros(int(values.max()) + 1, np.bool_)
    occurs[values] = True
    return np.flatnonzero(occurs).astype(values.dtype), (np.cumsum(occurs) - 1)[values]


def sums(at: Ints, pixels: Ints, n: int) -> Ints:
    """Add pixels by where they belong, 0..n - 1."""
    return np.bincount(at, weights=pixels, minlength=n).astype(np.int64)


def best_pairing(left: Ints, right: Ints, value: Floats) -> Ints:
    """Choose pairs of largest total value, no partner twice.

    The pairs fall into groups that share no partner; each group is solved by itself, so
    the cost doesn't grow with the square of the number of instances.

    Parameters
    ----------
    left, right : (P,) int64
        Partners of each candidate pair.
    value : (P,) float64
        Worth of each pair, positive.

    Returns
    -------
    (Q,) int64
        Indices of the chosen pairs, ascending.
    """
    if len(left) == 0:
        return np.zeros(0, np.int64)
    n_left, n_right = int(left.max()) + 1, int(right.max()) + 1
    pairs = np.stack((left, right + n_left), axis=1)
    group = equivalence_classes(pairs, n_left + n_right)[1][left]
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    chosen = [_solve(left, right, value, rows) for rows in np.split(order, cuts)]
    return np.sort(np.concatenate(chosen))


def _solve(left: Ints, right: Ints, value: Floats, pairs: Ints) -> Ints:
    if len(pairs) == 1:
        return pairs
    rows, row = np.unique(left[pairs], return_inverse=True)
    columns, column = np.unique(right[pairs], return_inverse=True)
    table = np.zeros((len(rows), len(columns)))
    which = np.full(table.shape, -1)
    table[row, column] = value[pairs]
    which[row, column] = pairs
    picked = which[linear_sum_assignment(table, maximize=True)]
    chosen: Ints = picked[picked >= 0]
    return chosen
