"""Which instances are probable enough to be nuclei.

A flood leaves an instance wherever foreground has a marker, also where the network was
of two minds. The mean probability tells them apart: on images not trained on, of those
below 0.75 one in five is a nucleus, of those above 0.85 four in five (ADR 0009).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, ProbMap
from segpipe.labels.renaming import in_raster_order

BOUNDS = (0.0, 0.7, 0.74, 0.77, 0.8, 0.83, 0.86)
"""Least mean probabilities that calibrating tries."""


def is_probable(
    prob_sum: NDArray[Any], area_px: NDArray[Any], min_prob: float
) -> NDArray[np.bool_]:
    """Return which instances are probable enough to be nuclei.

    Parameters
    ----------
    prob_sum : (N,)
        Sum of the probability over an instance's pixels, in units of 1/255.
    area_px : (N,)
        Pixels of each, at least 1.
    min_prob
        Least mean probability, in [0, 1].
    """
    probable: NDArray[np.bool_] = prob_sum / (255 * area_px) >= min_prob
    return probable


def probable_ones(labels: LabelMap, prob: ProbMap, min_prob: float) -> LabelMap:
    """Return a label map without the instances that are not probable enough.

    Parameters
    ----------
    labels : (Y, X) int32
        Of whole instances; 0 is background.
    prob : (Y, X) uint8
        In units of 1/255.
    min_prob
        Least mean probability, in [0, 1].

    Returns
    -------
    (Y, X) int32
        Ids are 1..n in raster order of first pixel.
    """
    n_ids = int(labels.max(initial=0)) + 1
    area_px = np.bincount(labels.ravel(), minlength=n_ids)
    prob_sum = np.bincount(labels.ravel(), weights=prob.ravel(), minlength=n_ids)
    kept = is_probable(prob_sum, np.maximum(area_px, 1), min_prob)
    kept[0] = False
    left = np.where(kept[labels], labels, 0).astype(np.int32)
    in_raster_order(left, n_ids - 1)
    return left
