"""Found instances by score, and whether each is true at rising demands on its IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.errors import ShapeMismatch
from segpipe.metrics.overlap import Floats, Ints, Overlap

IOUS: tuple[float, ...] = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Demands on the IoU: .5 to .95; Lin et al. 2014, *Microsoft COCO*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What curves over the score are made of. Rankings of several images add up."""

    scores: Floats
    """(N,) scores of the found instances, the highest of each image first."""
    matched: NDArray[np.bool_]
    """(10, N) whether each found instance has a true one at each of ``IOUS``."""
    n_truth: int
    """True instances."""

    def __add__(self, other: Ranking) -> Ranking:
        return Ranking(
            scores=np.concatenate((self.scores, other.scores)),
            matched=np.concatenate((self.matched, other.matched), axis=1),
            n_truth=self.n_truth + other.n_truth,
        )


def rank(table: Overlap, scores: Floats) -> Ranking:
    """Match found instances to true ones, the highest score first.

    Each takes the true instance of largest IoU that is still free, if the IoU is at
    least what is asked for.

    Parameters
    ----------
    table
        Overlaps.
    scores : (F,) float
        Score of each found instance, by ascending id.

    Raises
    ------
    ShapeMismatch
        If there is not one score an instance.

    References
    ----------
    The COCO evaluation, all areas, any number of detections.
    """
    n_found = len(table.found_ids)
    if scores.shape != (n_found,):
        message = f"{n_found} instances can't have scores of shape {scores.shape}."
        raise ShapeMismatch(message)
    by_score = np.argsort(-scores, kind="stable")
    place = np.empty(n_found, np.int64)
    place[by_score] = np.arange(n_found)
    enough = np.flatnonzero(table.iou >= IOUS[0])
    order = enough[np.lexsort((table.truth[enough], place[table.found[enough]]))]
    matched = _match(
        place[table.found[order]],
        table.truth[order],
        table.iou[order],
        np.array(IOUS),
        (n_found, len(table.truth_ids)),
    )
    return Ranking(
        scores=np.asarray(scores, np.float64)[by_score],
        matched=matched,
        n_truth=len(table.truth_ids),
    )


@njit(cache=True, nogil=True)
def _match(
    found: Ints, truth: Ints, iou: Floats, demands: Floats, n: tuple[int, int]
) -> NDArray[np.bool_]:
    """Match pairs that come by found instance; of equal IoU the last one wins."""
    matched = np.zeros((demands.size, n[0]), np.bool_)
    for level in range(demands.size):
        taken = np.zeros(n[1], np.bool_)
        start = 0
        while start < found.size:
            best, partner, pair = demands[level], -1, start
            while pair < found.size and found[pair] == found[start]:
                if iou[pair] >= best and not taken[truth[pair]]:
                    best, partner = iou[pair], truth[pair]
                pair += 1
            if partner >= 0:
                taken[partner] = True
                matched[level, found[start]] = True
            start = pair
    return matched
