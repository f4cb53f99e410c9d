"""How much hematoxylin and eosin a nucleus holds, and how grainy it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import Planes
from segpipe.tables.crops import Crops

HEMATOXYLIN = (0.65, 0.70, 0.29)
"""Optical density of pure hematoxylin in R, G, B (Ruifrok & Johnston 2001, table 1)."""
EOSIN = (0.07, 0.99, 0.11)
"""Optical density of pure eosin in R, G, B (ibid.)."""
WHITE = 255
"""Pixel value of clear glass: fixed, so nothing depends on the rest of the slide."""

_FRACTION_BITS = 16
OD_UNIT = 2.0**-_FRACTION_BITS
"""Optical density of one step of the fixed-point numbers that are summed."""
ENTROPY_BINS = 64
"""Bins of the hematoxylin histogram, 1/32 optical density wide, from 0 to 2."""
_BIN_SHIFT = _FRACTION_BITS - 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StainSums:
    """Sums over the pixels of each nucleus; (N,) each, in steps of ``OD_UNIT``."""

    hematoxylin: NDArray[np.int64]
    """Sum of hematoxylin."""
    hematoxylin_squared: NDArray[np.int64]
    """Sum of its square."""
    eosin: NDArray[np.int64]
    """Sum of eosin."""
    eosin_squared: NDArray[np.int64]
    """Sum of its square."""
    differences: NDArray[np.int64]
    """Sum of absolute hematoxylin differences over adjacent pairs in the nucleus."""
    n_pairs: NDArray[np.int64]
    """Pairs of pixels of the nucleus that share a side."""
    entropy_bits: NDArray[np.float64]
    """Entropy of the hematoxylin histogram."""


def stain_sums(crops: Crops, planes: Planes) -> StainSums:
    """Unmix the stains in the pixels of each nucleus and sum them.

    Beer and Lambert: optical density -log10(value / 255) is linear in the amounts of
    stain. Values of 0 are taken as 1. Amounts may be slightly negative where a colour
    lies outside the two stains.

    Parameters
    ----------
    crops
        The nuclei.
    planes : (3, Y, X) uint8
        Pixels under the label map.

    References
    ----------
    Ruifrok & Johnston 2001, Anal Quant Cytol Histol 23:291-299.
    """
    sums, entropy_bits = _sums(
        crops.labels, crops.ids, crops.boxes, planes, unmixing_table()
    )
    columns = np.ascontiguousarray(sums.T)
    return StainSums(
        hematoxylin=columns[0],
        hematoxylin_squared=columns[1],
        eosin=columns[2],
        eosin_squared=columns[3],
        differences=columns[4],
        n_pairs=columns[5],
        entropy_bits=entropy_bits,
    )


def unmixing_table() -> NDArray[np.int32]:
    """Return what a channel's value adds to each stain, in steps of ``OD_UNIT``.

    Returns
    -------
    (2, 3, 256) int32
        Stain (hematoxylin, eosin), channel, value.
    """
    stains = np.array([HEMATOXYLIN, EOSIN, np.cross(HEMATOXYLIN, EOSIN)])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    amounts = np.linalg.inv(stains)[:, :2].T
    density = -np.log10(np.maximum(np.arange(256), 1) / WHITE)
    table = amounts[:, :, None] * density / OD_UNIT
    return np.rint(table).astype(np.int32)


@njit(cache=True, nogil=True)
def _sums(
    labels: NDArray[np.uint32],
    ids: NDArray[np.uint32],
    boxes: NDArray[np.int64],
    planes: NDArray[np.uint8],
    table: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (N, 6) sums in the order of ``StainSums``, and (N,) entropies."""
    sums = np.zeros((ids.size, 6), np.int64)
    entropy_bits = np.zeros(ids.size)
    histogram = np.zeros(ENTROPY_BINS, np.int64)
    above = np.empty(labels.shape[1], np.int64)
    for row in range(ids.size):
        own = ids[row]
        y0, x0, y1, x1 = boxes[row]
        histogram[:] = 0
        h_sum = h_square = e_sum = e_square = differences = n_pairs = n = 0
        for y in range(y0, y1):
            before = 0
            for x in range(x0, x1):
                if labels[y, x] != own:
                    continue
                r, g, b = planes[0, y, x], planes[1, y, x], planes[2, y, x]
                h = np.int64(table[0, 0, r]) + table[0, 1, g] + table[0, 2, b]
                e = np.int64(table[1, 0, r]) + table[1, 1, g] + table[1, 2, b]
                n += 1
                h_sum += h
                h_square += h * h
                e_sum += e
                e_square += e * e
                histogram[min(max(h >> _BIN_SHIFT, 0), ENTROPY_BINS - 1)] += 1
                if x > x0 and labels[y, x - 1] == own:
                    differences += abs(h - before)
                    n_pairs += 1
                if y > y0 and labels[y - 1, x] == own:
                    differences += abs(h - above[x])
                    n_pairs += 1
                before = h
                above[x] = h
        sums[row] = h_sum, h_square, e_sum, e_square, differences, n_pairs
        entropy_bits[row] = _entropy(histogram, n)
    return sums, entropy_bits


@njit(cache=True, nogil=True)
def _entropy(histogram: NDArray[np.int64], n: int) -> float:
    """Shannon entropy of a histogram of ``n`` samples, in bits."""
    weighted = 0.0
    for count in histogram:
        if count > 0:
            weighted += count * math.log2(count)
    return math.log2(n) - weighted / n
