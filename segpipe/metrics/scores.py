"""Scores from counts. A score without anything to score is not a number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segpipe.metrics.counts import Counts
from segpipe.metrics.curves import average_precisions
from segpipe.metrics.pixels import PixelCounts
from segpipe.metrics.ranking import Ranking
from segpipe.metrics.types import TypeCounts

_PUBLISHED_EPSILON = 1e-6
"""The published code adds it to the matches that segmentation quality divides by."""


def scores(counts: Counts) -> dict[str, float]:
    """Return every score of some counts, of one image or of many added up.

    ========== =========================================================================
    dice       twice the common foreground by the sum of both foregrounds
    aji        aggregated Jaccard index; a found instance may serve twice
    aji_plus   the same with one-to-one pairs
    dq, sq, pq detection, segmentation and panoptic quality at IoU above 0.5
    f1_det     F1 of centres within a radius
    ========== =========================================================================

    Returns
    -------
    dict
        In [0, 1], or NaN where both maps are empty.
    """
    n_both = counts.n_truth + counts.n_found
    dq, sq = _quality(counts)
    return {
        "dice": _ratio(2 * counts.common_px, counts.truth_px + counts.found_px),
        "aji": _ratio(counts.aji_common_px, counts.aji_union_px),
        "aji_plus": _ratio(counts.aji_plus_common_px, counts.aji_plus_union_px),
        "dq": dq,
        "sq": sq,
        "pq": dq * sq,
        "f1_det": _ratio(2 * counts.n_detected, n_both),
    }


def mean_score(values: Sequence[float]) -> float:
    """Return the mean of the scores that are numbers; NaN if none is."""
    real = [value for value in values if not math.isnan(value)]
    return float(np.mean(real)) if real else math.nan


def pixel_scores(counts: PixelCounts) -> dict[str, float]:
    """Return the pixel errors of some counts: the smaller the better.

    =================== ================================================================
    pixel_error         share of pixels that are foreground in only one of the maps
    warping_error       share of pixels that differ however the truth is warped
    rand_error          share of the pairs of pixels on which the maps disagree
    adapted_rand_error  1 − F of Rand precision and recall in the true foreground
    =================== ================================================================

    Returns
    -------
    dict
        In [0, 1], or NaN without pixels (the last one: without true foreground).
    """
    f_rand = _ratio(2 * counts.common_pairs, counts.truth_pairs + counts.found_pairs)
    return {
        "pixel_error": _ratio(counts.differing_px, counts.n_px),
        "warping_error": _ratio(counts.warped_px, counts.n_px),
        "rand_error": _ratio(counts.disagreeing_pairs, counts.n_pairs),
        "adapted_rand_error": 1 - f_rand,
    }


def ranking_scores(ranking: Ranking) -> dict[str, float]:
    """Return the average precision at IoU .5 and .75 and the mean of .5 to .95.

    Of one image, or of all images pooled into one ranking, as COCO does.
    """
    ap = average_precisions(ranking)
    return {"ap50": float(ap[0]), "ap75": float(ap[5]), "map": float(ap.mean())}


def type_scores(counts: Sequence[TypeCounts]) -> list[float]:
    """Return the F1 of each type.

    Types confused weigh twice as much as nuclei missed or invented.

    References
    ----------
    Graham et al. 2019, *HoVer-Net*, section 4.2, equation 11.
    """
    return [
        _ratio(
            2 * one.right,
            2 * (one.right + one.wrongly + one.missed) + one.invented + one.overlooked,
        )
        for one in counts
    ]


def type_pq(counts: Sequence[TypeCounts]) -> list[float]:
    """Return the panoptic quality of each type among nuclei of this type only.

    Of one image it is what PanNuke averages over types and then over images (mPQ;
    Gamper et al. 2020), of all images added up what CoNIC averages over types (mPQ+;
    Graham et al. 2021). NaN if there is neither a true nor a found one.
    """
    return [math.prod(_quality(one)) for one in counts]


def _quality(counts: Counts | TypeCounts) -> tuple[float, float]:
    """Return detection and segmentation quality."""
    n_both = counts.n_truth + counts.n_found
    sq = counts.matched_iou / (counts.n_matched + _PUBLISHED_EPSILON)
    return _ratio(2 * counts.n_matched, n_both), sq if n_both else math.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
