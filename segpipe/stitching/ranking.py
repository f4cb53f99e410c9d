"""From the instances of all tiles to nuclei, numbered by their anchors.

The id of a nucleus is the rank of its anchor (its first pixel in raster order) among
those of all nuclei, so it doesn't depend on the tiles, their order or their workers.

Anchors of one row of tiles come before those of the next. So ranks are given row by row
and no more than a few rows' instances are in memory, however large the slide: an
instance that goes on further below its anchor is too large for a nucleus and has no
rank.
"""

from __future__ import annotations

from collections import deque
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
from segpipe.stitching.joining import wholes_of
from segpipe.stitching.rows import Ints, TileRow

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
    """(N, N_COLUMNS) int64, ascending in anchor; ids go on from the row before."""
    lookup: NDArray[np.uint32]
    """(M,) uint32: nucleus id of each instance of the row; 0 if dropped."""
    counts: Ints
    """(T,) how many of these each tile has."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A row of tiles whose instances are being named."""

    row: TileRow
    names: NDArray[np.uint32]
    """(M,) uint32, filled from anchors in this row and in those above."""


def rank_rows(
    rows: Iterable[TileRow], limits: NucleusLimits, *, tile_px: int
) -> Iterator[Ranked]:
    """Drop what is no nucleus and number the rest, one row of tiles after the other.

    Parameters
    ----------
    rows
        The rows of tiles, downwards.
    limits : NucleusLimits
        What to drop. Judged on whole instances, so the same for any tiling.
    tile_px : int
        Height of a row of tiles.

    Raises
    ------
    StageFailed
        If there are more than ``MOST_NUCLEI``.
    """
    n_named = 0
    # What is anchored in a row and cut off below the window is higher than the limit.
    for window in _windows(rows, n_below=-(-limits.max_extent_px // tile_px)):
        nuclei = _name_anchored(window, limits, n_named)
        n_named += len(nuclei)
        first = window[0]
        yield Ranked(nuclei=nuclei, lookup=first.names, counts=first.row.counts)


def _windows(rows: Iterable[TileRow], n_below: int) -> Iterator[Sequence[_Pending]]:
    """Yield each row with up to ``n_below`` below it."""
    window: deque[_Pending] = deque()
    for row in rows:
        window.append(_Pending(row, np.zeros(len(row.records), np.uint32)))
        if len(window) > n_below:
            yield window
            window.popleft()
    while window:
        yield window
        window.popleft()


def _name_anchored(
    window: Sequence[_Pending], limits: NucleusLimits, n_named: int
) -> InstanceRecords:
    """Name what is anchored in the first row; return the nuclei in order of anchors."""
    first = window[0]
    wholes = wholes_of([pending.row for pending in window])
    candidates = np.concatenate([first.row.records[wholes.alone], wholes.records])
    kept = np.flatnonzero(_within(candidates, limits))
    ranked = kept[np.argsort(candidates[kept, ANCHOR], kind="stable")]
    _check_ids(n_named + len(ranked))
    name = np.zeros(len(candidates), np.uint32)
    name[ranked] = np.arange(n_named + 1, n_named + 1 + len(ranked))
    first.names[wholes.alone] = name[: len(wholes.alone)]
    name_of_part = name[len(wholes.alone) :][wholes.whole_of]
    start = 0
    for pending in window:
        stop = start + len(pending.names)
        low, high = np.searchsorted(wholes.parts, (start, stop))
        pending.names[wholes.parts[low:high] - start] = name_of_part[low:high]
        start = stop
    return candidates[ranked]


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
