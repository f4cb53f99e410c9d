"""From the instances of all tiles to nuclei, numbered by their anchors.

The id of a nucleus is the rank of its anchor (its first pixel in raster order) among
those of all nuclei, so it doesn't depend on the tiles, their order or their workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.labels.equivalence import equivalence_classes
from segpipe.labels.records import (
    ANCHOR,
    AREA,
    XMAX,
    XMIN,
    YMAX,
    YMIN,
    InstanceRecords,
    merge_records,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleusLimits:
    """What is too small or too large to be a nucleus, in canvas pixels."""

    min_area_px: int
    """Instances of fewer pixels are dropped."""
    max_extent_px: int
    """Instances higher or wider than this are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The nuclei of a slide, and what each tile's instances are called now."""

    nuclei: InstanceRecords
    """(N, 6) int64: row i is nucleus i + 1, ascending in anchor."""
    lookup: NDArray[np.uint32]
    """(M,) uint32: nucleus id of each instance of all tiles in a row; 0 if dropped."""
    n_too_small: int
    """Instances dropped for their area."""
    n_too_large: int
    """Instances dropped for their extent."""


def rank_nuclei(
    records: InstanceRecords, pairs: NDArray[np.int64], limits: NucleusLimits
) -> Ranking:
    """Join what seams say is one, drop what is no nucleus, number the rest.

    Parameters
    ----------
    records : (M, 6) int64
        Instances of all tiles, one tile after the other.
    pairs : (P, 2) int64
        Rows of ``records`` that are one instance.
    limits : NucleusLimits
        What to drop. Judged on whole instances, so the same for any tiling.
    """
    n_wholes, whole_of = equivalence_classes(pairs, len(records))
    wholes = merge_records(records, whole_of, n_wholes)
    height, width = wholes[:, YMAX] - wholes[:, YMIN], wholes[:, XMAX] - wholes[:, XMIN]
    too_small = wholes[:, AREA] < limits.min_area_px
    too_large = np.maximum(height, width) > limits.max_extent_px
    kept = np.flatnonzero(~(too_small | too_large))
    ranked = kept[np.argsort(wholes[kept, ANCHOR], kind="stable")]
    name_of_whole = np.zeros(n_wholes, np.uint32)
    name_of_whole[ranked] = np.arange(1, len(ranked) + 1, dtype=np.uint32)
    return Ranking(
        nuclei=wholes[ranked],
        lookup=name_of_whole[whole_of],
        n_too_small=int(too_small.sum()),
        n_too_large=int((too_large & ~too_small).sum()),
    )


def block_starts(counts: Sequence[int]) -> NDArray[np.int64]:
    """Return where each tile's block of ids starts; one more entry for the end."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
