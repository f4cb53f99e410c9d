"""Precision and recall over the score, and what is read off the curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segpipe.metrics.overlap import Floats
from segpipe.metrics.ranking import IOUS, Ranking

RECALLS = np.linspace(0, 1, 101)
"""Recalls at which precision is averaged; the COCO evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Precision and recall of the instances at or above each score, highest first."""

    scores: Floats
    """(N,) distinct scores, descending."""
    precision: Floats
    """(N,) share of these instances that are true."""
    recall: Floats
    """(N,) share of the true instances that are among them; NaN if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The point of a curve where F1 is largest."""

    f1: float
    threshold: float
    """Least score that is kept."""
    precision: float
    recall: float


def curve(ranking: Ranking, level: int = 0) -> Curve:
    """Return the curve at one demand on the IoU, ``IOUS[level]``."""
    scores, hits = _by_score(ranking, level)
    last = np.flatnonzero(np.diff(scores, append=-np.inf))
    return Curve(
        scores=scores[last],
        precision=hits[last] / (last + 1),
        recall=hits[last] / (ranking.n_truth or math.nan),
    )


def best_f1(ranking: Ranking, level: int = 0) -> Point | None:
    """Return the point of largest F1, of equals that of highest score.

    None if nothing was found or nothing is there.
    """
    line = curve(ranking, level)
    if line.scores.size == 0 or ranking.n_truth == 0:
        return None
    both = line.precision + line.recall
    f1 = 2 * line.precision * line.recall / np.where(both > 0, both, 1)
    best = int(np.argmax(f1))
    return Point(
        f1=float(f1[best]),
        threshold=float(line.scores[best]),
        precision=float(line.precision[best]),
        recall=float(line.recall[best]),
    )


def interpolated(ranking: Ranking, level: int = 0) -> Floats:
    """Return the largest precision at each of ``RECALLS`` or beyond; 0 past the end.

    Returns
    -------
    (101,) float64
    """
    _, hits = _by_score(ranking, level)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / (ranking.n_truth or math.nan), RECALLS)
    return np.append(envelope, 0)[np.minimum(at, len(hits))]


def average_precisions(ranking: Ranking) -> Floats:
    """Return the average precision at each of ``IOUS``; NaN if nothing is there.

    Returns
    -------
    (10,) float64

    References
    ----------
    The COCO evaluation: 101 recalls, precision made monotone.
    """
    if ranking.n_truth == 0:
        return np.full(len(IOUS), np.nan)
    return np.array([interpolated(ranking, k).mean() for k in range(len(IOUS))])


def _by_score(ranking: Ranking, level: int) -> tuple[Floats, Floats]:
    """Return scores, descending, and how many are matched up to each."""
    order = np.argsort(-ranking.scores, kind="stable")
    hits = np.cumsum(ranking.matched[level][order], dtype=np.float64)
    return ranking.scores[order], hits
