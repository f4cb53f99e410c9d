"""Whether probabilities mean what they say: how often what has one of them is true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import Mask, ProbMap
from segpipe.metrics.adding import Additive
from segpipe.metrics.overlap import Floats, Ints

N_BINS = 15
"""Bins of the calibration error; Guo et al. 2017."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability(Additive):
    """Pixels by their probability. Those of several images add up."""

    n_px: Ints
    """(256,) pixels of each probability, in units of 1/255."""
    true_px: Ints
    """(256,) those of them in the true foreground."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Pixels in bins of equal width. An empty bin has NaN."""

    n_px: Ints
    """(15,) pixels."""
    said: Floats
    """(15,) mean probability."""
    seen: Floats
    """(15,) share in the true foreground."""


def count_reliability(prob: ProbMap, truth: Mask) -> Reliability:
    """Count the pixels of each probability, and the true ones among them.

    Parameters
    ----------
    prob : (Y, X) or (N,) uint8
        Foreground probability in units of 1/255, of an image or of some pixels.
    truth : bool
        True foreground, of the same shape.
    """
    return Reliability(n_px=_tally(prob), true_px=_tally(prob[truth]))


def bins(reliability: Reliability) -> Bins:
    """Return the pixels in fifteen bins."""
    at = np.minimum(np.arange(256) * N_BINS // 255, N_BINS - 1)

    def summed(values: NDArray[np.float64] | Ints) -> Floats:
        return np.bincount(at, values, N_BINS).astype(np.float64)

    n_px = summed(reliability.n_px)
    some = np.where(n_px > 0, n_px, np.nan)
    return Bins(
        n_px=n_px.astype(np.int64),
        said=summed(reliability.n_px * np.arange(256) / 255) / some,
        seen=summed(reliability.true_px) / some,
    )


def calibration_error(reliability: Reliability) -> float:
    """Return the mean distance of what is said and what is seen; NaN without pixels.

    References
    ----------
    Guo et al. 2017, *On calibration of modern neural networks*, equation 3.
    """
    binned = bins(reliability)
    n_px = binned.n_px.sum()
    if n_px == 0:
        return float("nan")
    return float(np.nansum(binned.n_px * np.abs(binned.said - binned.seen)) / n_px)


def _tally(prob: ProbMap) -> Ints:
    return np.bincount(prob.ravel(), minlength=256).astype(np.int64)
