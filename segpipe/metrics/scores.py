"""Scores from counts. A score without anything to score is not a number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from segpipe.metrics.counts import Counts
from segpipe.metrics.detections import TypeCounts

_PUBLISHED_EPSILON = 1e-6
"""The published code adds it to the matches that segmentation quality divides by."""
NAMES = ("dice", "aji", "aji_plus", "dq", "sq", "pq", "f1_det")


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
    dq = _ratio(2 * counts.n_matched, n_both)
    sq = counts.matched_iou / (counts.n_matched + _PUBLISHED_EPSILON)
    return {
        "dice": _ratio(2 * counts.common_px, counts.truth_px + counts.found_px),
        "aji": _ratio(counts.aji_common_px, counts.aji_union_px),
        "aji_plus": _ratio(counts.aji_plus_common_px, counts.aji_plus_union_px),
        "dq": dq,
        "sq": sq if n_both else math.nan,
        "pq": dq * sq,
        "f1_det": _ratio(2 * counts.n_detected, n_both),
    }


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


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
