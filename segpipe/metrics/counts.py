"""What is counted when a label map is compared with the truth; counts add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.metrics.adding import Additive
from segpipe.metrics.detections import DETECTION_RADIUS_PX, match_centres
from segpipe.metrics.overlap import Overlap, best_pairing, overlap

MATCH_IOU = 0.5
"""Two instances match above this; Kirillov et al. 2019, *Panoptic Segmentation*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts(Additive):
    """Everything the scores of a label map need. Counts of several images add up."""

    n_truth: int = 0
    """True instances."""
    n_found: int = 0
    """Found instances."""
    truth_px: int = 0
    """Pixels of the true foreground."""
    found_px: int = 0
    """Pixels of the found foreground."""
    common_px: int = 0
    """Pixels of both."""
    aji_common_px: int = 0
    """Pixels shared by each true instance and its best partner."""
    aji_union_px: int = 0
    """Pixels of these pairs' unions and of everything left over."""
    aji_plus_common_px: int = 0
    """The same, with no partner used twice."""
    aji_plus_union_px: int = 0
    """The same, with no partner used twice."""
    n_matched: int = 0
    """Pairs above ``MATCH_IOU``."""
    matched_iou: float = 0.0
    """Sum of their IoU."""
    n_detected: int = 0
    """Pairs of centres within the detection radius."""


def count(
    truth: NDArray[Any],
    found: NDArray[Any],
    *,
    radius_px: float = DETECTION_RADIUS_PX,
) -> Counts:
    """Compare a label map with the truth.

    Parameters
    ----------
    truth, found : (Y, X) int
        Label maps with any ids, 0 is background.
    radius_px
        How far a found centre may lie from the true one.

    Returns
    -------
    Counts

    Raises
    ------
    ShapeMismatch
        If the maps differ in shape.
    """
    pairs = match_centres(truth, found, radius_px)
    return count_overlap(overlap(truth, found), n_detected=len(pairs[0]))


def count_overlap(table: Overlap, *, n_detected: int) -> Counts:
    """Count what a table of overlaps and some paired centres say."""
    matched = table.iou[table.iou > MATCH_IOU]
    aji = _jaccard(table, _best_partners(table))
    aji_plus = _jaccard(table, best_pairing(table.truth, table.found, table.iou))
    return Counts(
        n_truth=len(table.truth_ids),
        n_found=len(table.found_ids),
        truth_px=int(table.truth_area.sum()),
        found_px=int(table.found_area.sum()),
        common_px=int(table.common.sum()),
        aji_common_px=aji[0],
        aji_union_px=aji[1],
        aji_plus_common_px=aji_plus[0],
        aji_plus_union_px=aji_plus[1],
        n_matched=len(matched),
        matched_iou=float(matched.sum()),
        n_detected=n_detected,
    )


def _best_partners(table: Overlap) -> NDArray[np.int64]:
    """Return the pair of largest IoU of each true instance; of equals, the first id."""
    order = np.lexsort((table.found, -table.iou, table.truth))
    first = np.unique(table.truth[order], return_index=True)[1]
    return order[first]


def _jaccard(table: Overlap, pairs: NDArray[np.int64]) -> tuple[int, int]:
    """Return the pixels in common and in union of some pairs and what is left over.

    References
    ----------
    Kumar et al. 2017, IEEE TMI 36(7); for AJI+ Graham et al. 2019, *HoVer-Net*.
    """
    missed = np.ones(len(table.truth_ids), np.bool_)
    missed[table.truth[pairs]] = False
    invented = np.ones(len(table.found_ids), np.bool_)
    invented[table.found[pairs]] = False
    left_over = table.truth_area[missed].sum() + table.found_area[invented].sum()
    return int(table.common[pairs].sum()), int(table.union[pairs].sum() + left_over)
