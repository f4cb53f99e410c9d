"""Label maps as pixels: differing ones, topological errors, and pairs of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.metrics.adding import Additive
from segpipe.metrics.overlap import Ints, Overlap, sums
from segpipe.metrics.warping import parted, warped


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelCounts(Additive):
    """What pixel errors need. Counts of several images add up.

    Ordered pairs of pixels of one image are counted, a pixel with itself too.
    """

    n_px: int = 0
    """Pixels."""
    differing_px: int = 0
    """Pixels that are foreground in only one of the maps."""
    warped_px: int = 0
    """Pixels that differ once the truth is warped to what was found."""
    n_pairs: int = 0
    """Pairs of different pixels."""
    disagreeing_pairs: int = 0
    """Pairs that share an instance (or the background) in only one of the maps."""
    truth_pairs: int = 0
    """Pairs within a true instance."""
    found_pairs: int = 0
    """Pairs within a found instance, both in the true foreground."""
    common_pairs: int = 0
    """Pairs within a true and within a found instance."""


def count_pixels(
    truth: NDArray[Any],
    found: NDArray[Any],
    table: Overlap,
    *,
    n_px: int | None = None,
) -> PixelCounts:
    """Compare two label maps pixel by pixel.

    Parameters
    ----------
    truth, found : (Y, X) int
        Label maps with any ids, 0 is background.
    table
        Their overlaps.
    n_px
        Pixels that count; the others are background in both. None: all.
    """
    n_px = truth.size if n_px is None else n_px
    inside_found = table.found_area.sum() - table.common.sum()
    inside_truth = table.truth_area.sum() - table.common.sum()
    mask = parted(found)
    pairs = _pairs(table, n_px)
    return PixelCounts(
        n_px=n_px,
        differing_px=int(inside_found + inside_truth),
        warped_px=int(np.count_nonzero(warped(parted(truth), mask) != mask)),
        **pairs,
    )


def _pairs(table: Overlap, n_px: int) -> dict[str, int]:
    """Count pairs of pixels.

    References
    ----------
    Rand 1971 for those that disagree, with the background as one segment. For the rest
    Arganda-Carreras et al. 2015, *Crowdsourcing the creation of image segmentation
    algorithms for connectomics*: within the true foreground, where a pixel that was not
    found is a segment by itself.
    """
    found_here = sums(table.found, table.common, len(table.found_ids))
    truth_here = sums(table.truth, table.common, len(table.truth_ids))
    not_found = table.truth_area - truth_here
    not_true = table.found_area - found_here
    neither = n_px - table.truth_area.sum() - not_true.sum()
    common = _squares(table.common)
    truth = _squares(table.truth_area)
    everywhere = common + _squares(not_found) + _squares(not_true) + int(neither) ** 2
    both_truth = truth + (n_px - int(table.truth_area.sum())) ** 2
    both_found = _squares(table.found_area) + (n_px - int(table.found_area.sum())) ** 2
    singles = int(not_found.sum())
    return {
        "n_pairs": n_px * (n_px - 1),
        "disagreeing_pairs": both_truth + both_found - 2 * everywhere,
        "truth_pairs": truth,
        "found_pairs": _squares(found_here) + singles,
        "common_pairs": common + singles,
    }


def _squares(pixels: Ints) -> int:
    return int(pixels @ pixels)
