"""From the instances of all tiles to nuclei, numbered by their anchors.

The id of a nucleus is the rank of its anchor (its first pixel in raster order) among
those of all nuclei, so it doesn't depend on the tiles, their order or their workers.

Anchors of one row of tiles come before those of the next. So ranks are given row by row
and no more than a row's instances are in memory, however large the slide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import StageFailed
from segpipe.labels.records import (
    ANCHOR,
    AREA,
    XMAX,
    XMIN,
    YMAX,
    YMIN,
    InstanceRecords,
)
from segpipe.stitching.joining import Ints, Joined

MOST_NUCLEI = 2**32 - 1
"""Ids are uint32; the largest slides have some ten million nuclei."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleusLimits:
    """What is too small or too large to be a nucleus, in canvas pixels."""

    min_area_px: int
    """Instances of fewer pixels are dropped."""
    max_extent_px: int
    """Instances higher or wider than this are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The nuclei anchored in one row of tiles, and what the row's instances are."""

    nuclei: InstanceRecords
    """(N, 6) int64, ascending in anchor; ids go on from the row before."""
    lookup: NDArray[np.uint32]
    """(M,) uint32: nucleus id of each instance of the row; 0 if dropped."""


def rank_rows(
    rows: Iterable[InstanceRecords], joined: Joined, limits: NucleusLimits
) -> Iterator[Ranked]:
    """Drop what is no nucleus and number the rest, one row of tiles after the other.

    Parameters
    ----------
    rows
        For each row of tiles, downwards, the records (M, 6) int64 of its instances, one
        tile after the other.
    joined : Joined
        Instances that lie in several tiles.
    limits : NucleusLimits
        What to drop. Judged on whole instances, so the same for any tiling.

    Raises
    ------
    StageFailed
        If there are more than ``MOST_NUCLEI``.
    """
    names = np.zeros(len(joined.wholes), np.uint32)
    start, n_named = 0, 0
    for records in rows:
        stop = start + len(records)
        low, high = np.searchsorted(joined.parts, (start, stop))
        parts = joined.parts[low:high] - start
        alone = np.delete(np.arange(len(records)), parts)
        anchored = slice(*np.searchsorted(joined.first, (start, stop)))
        candidates = np.concatenate([records[alone], joined.wholes[anchored]])
        kept = np.flatnonzero(_within(candidates, limits))
        ranked = kept[np.argsort(candidates[kept, ANCHOR], kind="stable")]
        _check_ids(n_named + len(ranked))
        name = np.zeros(len(candidates), np.uint32)
        name[ranked] = np.arange(n_named + 1, n_named + 1 + len(ranked))
        names[anchored] = name[len(alone) :]
        lookup = np.empty(len(records), np.uint32)
        lookup[alone] = name[: len(alone)]
        lookup[parts] = names[joined.whole_of[low:high]]
        yield Ranked(nuclei=candidates[ranked], lookup=lookup)
        start, n_named = stop, n_named + len(ranked)


def _check_ids(n_nuclei: int) -> None:
    if n_nuclei > MOST_NUCLEI:
        message = (
            f"{n_nuclei:,} nuclei so far, more than the {MOST_NUCLEI:,} that ids can "
            "tell apart. Cut the slide, or raise min_area_um2."
        )
        raise StageFailed(message)


def _within(records: InstanceRecords, limits: NucleusLimits) -> NDArray[np.bool_]:
    height = records[:, YMAX] - records[:, YMIN]
    width = records[:, XMAX] - records[:, XMIN]
    large_enough = records[:, AREA] >= limits.min_area_px
    small_enough = np.maximum(height, width) <= limits.max_extent_px
    within: NDArray[np.bool_] = large_enough & small_enough
    return within


def block_starts(counts: Sequence[int]) -> Ints:
    """Return where each tile's block of ids starts; one more entry for the end."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
