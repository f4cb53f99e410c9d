"""Which instances of two label maps are one, told from bands that come one by one.

A band is a strip over the whole width. Of the instances that reach its last row more
may come; the rest are whole. So no more is held than a sparse table of the instances
that go on below, and of those that share a pixel with one of them.

::

    band 1   a1 a1 .  a2 a2       a1 is told when band 1 ends;
             b1 b1 .  b2 b2       a2 waits with b2, which has not ended
    -------------------------
    band 2   .  .  .  .  b2
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.geometry import Box
from segpipe.metrics.counts import MATCH_IOU
from segpipe.metrics.overlap import Floats, Ints, overlap, sums
from segpipe.tiling.grid import TileGrid

Ids = NDArray[np.uint32]
Flags = NDArray[np.bool_]
Read = Callable[[Box], NDArray[Any]]
"""Reads a box of a label map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """Instances of one of the label maps, as far as they are known."""

    ids: Ids
    """(N,) ids, ascending."""
    px: Ints
    """(N,) their pixels so far."""
    is_told: Flags
    """(N,) whether it has been said what became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tabulated:
    """Areas of the instances of two label maps and of the pairs that overlap."""

    a: Instances
    b: Instances
    pair_a: Ids
    """(P,) id in A of each pair that shares pixels."""
    pair_b: Ids
    """(P,) id in B."""
    common: Ints
    """(P,) pixels that the two share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Instances of one label map without a partner in the other."""

    ids: Ids
    """(N,) ids, ascending."""
    px: Ints
    """(N,) their pixels."""
    best_iou: Floats
    """(N,) their largest IoU with an instance of the other map; 0 if they meet none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of some instances; each is told once."""

    a: Ids
    """(M,) ids in A of pairs above an IoU of ``MATCH_IOU``."""
    b: Ids
    """(M,) ids in B."""
    iou: Floats
    """(M,) common pixels by joint pixels."""
    px: NDArray[np.int64]
    """(2, M) pixels in A and in B."""
    only_a: Left
    only_b: Left


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What a band of two label maps adds to what is known."""

    told: Told
    waiting: tuple[int | None, int | None]
    """The smallest id of A and of B that isn't told yet, if any."""
    px: tuple[int, int, int]
    """Pixels of instances in A, in B, and in both, in this band."""


def bands(
    read_a: Read, read_b: Read, shape: tuple[int, int], box_px: int
) -> Iterator[Band]:
    """Match two label maps, read box by box.

    Parameters
    ----------
    read_a, read_b
        The label maps, of one shape. An instance is 4-connected.
    shape
        Their height and width.
    box_px
        Side of a box and height of a band. What is told doesn't depend on it, but for
        the band in which it is told.

    Yields
    ------
    Band
        From top to bottom.
    """
    grid = TileGrid(shape=shape, tile_px=box_px)
    left = nothing()
    for row in range(grid.n_rows):
        tables, last_row = [], []
        for col in range(grid.n_cols):
            box = grid.core(row * grid.n_cols + col)
            a, b = read_a(box), read_b(box)
            if a.any() or b.any():
                tables.append(tabulate(a, b))
                last_row.append((a[-1], b[-1]))
        is_last = row == grid.n_rows - 1
        open_a, open_b = _open(last_row if not is_last else [])
        px = _pixels(tables)
        told, left = tell(added([left, *tables]), open_a=open_a, open_b=open_b)
        yield Band(told=told, waiting=(_first(left.a), _first(left.b)), px=px)


def _open(
    last_row: Sequence[tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the ids of A and of B in the last row of a band."""
    none = np.zeros(0, np.uint32)
    a, b = ([none, *(pair[side] for pair in last_row)] for side in (0, 1))
    return np.unique(np.concatenate(a)), np.unique(np.concatenate(b))


def _pixels(tables: Sequence[Tabulated]) -> tuple[int, int, int]:
    return (
        sum(int(table.a.px.sum()) for table in tables),
        sum(int(table.b.px.sum()) for table in tables),
        sum(int(table.common.sum()) for table in tables),
    )


def nothing() -> Tabulated:
    """Return the table of no pixels."""
    return tabulate(np.zeros((0, 0), np.uint32), np.zeros((0, 0), np.uint32))


def tabulate(a: NDArray[Any], b: NDArray[Any]) -> Tabulated:
    """Tabulate a box of two label maps.

    Parameters
    ----------
    a, b : (Y, X) int
        Ids up to 2**32 - 1; 0 is background.

    Raises
    ------
    ShapeMismatch
        If the maps differ in shape.
    """
    table = overlap(a, b)
    return Tabulated(
        a=_untold(table.truth_ids, table.truth_area),
        b=_untold(table.found_ids, table.found_area),
        pair_a=table.truth_ids[table.truth].astype(np.uint32),
        pair_b=table.found_ids[table.found].astype(np.uint32),
        common=table.common,
    )


def added(tables: Sequence[Tabulated]) -> Tabulated:
    """Add up tables of boxes that share no pixel."""
    keys, common = _summed(
        np.concatenate([_keys(table) for table in tables]),
        np.concatenate([table.common for table in tables]),
    )
    return Tabulated(
        a=_joined([table.a for table in tables]),
        b=_joined([table.b for table in tables]),
        pair_a=(keys >> np.uint64(32)).astype(np.uint32),
        pair_b=(keys & np.uint64(2**32 - 1)).astype(np.uint32),
        common=common,
    )


def tell(
    table: Tabulated, *, open_a: NDArray[Any], open_b: NDArray[Any]
) -> tuple[Told, Tabulated]:
    """Say what became of the instances whose fate no further band can change.

    Parameters
    ----------
    table
        Of the bands so far; what earlier calls left, and the last band, added up.
    open_a, open_b : (N,) int
        Ids that reach the last row, of which more may come; none at the end.

    Returns
    -------
    Told
        What became of some, each instance once.
    Tabulated
        What is left to add the next band to.
    """
    a, b = table.a, table.b
    at, to = np.searchsorted(a.ids, table.pair_a), np.searchsorted(b.ids, table.pair_b)
    iou = table.common / (a.px[at] + b.px[to] - table.common)
    whole_a, whole_b = ~np.isin(a.ids, open_a), ~np.isin(b.ids, open_b)
    undecided = ~(whole_a[at] & whole_b[to])
    settled_a = whole_a & ~_any(at, undecided, len(a.ids))
    settled_b = whole_b & ~_any(to, undecided, len(b.ids))
    matched = ~undecided & (iou > MATCH_IOU)
    settled = settled_a[at] & settled_b[to]
    ready = matched & settled & ~a.is_told[at]
    told_a = settled_a & ~a.is_told & ~_any(at, matched, len(a.ids))
    told_b = settled_b & ~b.is_told & ~_any(to, matched, len(b.ids))
    told = Told(
        a=table.pair_a[ready],
        b=table.pair_b[ready],
        iou=iou[ready],
        px=np.stack([a.px[at[ready]], b.px[to[ready]]]),
        only_a=_left(a, told_a, at, iou),
        only_b=_left(b, told_b, to, iou),
    )
    rest = Tabulated(
        a=_kept(a, told_a | _any(at, ready, len(a.ids)), at[~settled]),
        b=_kept(b, told_b | _any(to, ready, len(b.ids)), to[~settled]),
        pair_a=table.pair_a[~settled],
        pair_b=table.pair_b[~settled],
        common=table.common[~settled],
    )
    return told, rest


def _first(side: Instances) -> int | None:
    waiting = side.ids[~side.is_told]
    return int(waiting[0]) if len(waiting) else None


def _untold(ids: NDArray[Any], px: Ints) -> Instances:
    none = np.zeros(len(ids), np.bool_)
    return Instances(ids=ids.astype(np.uint32), px=px, is_told=none)


def _joined(sides: Sequence[Instances]) -> Instances:
    """Add up the pixels of equal ids."""
    ids, at = np.unique(
        np.concatenate([side.ids for side in sides]), return_inverse=True
    )
    px = np.concatenate([side.px for side in sides])
    is_told = np.concatenate([side.is_told for side in sides])
    return Instances(
        ids=ids, px=sums(at, px, len(ids)), is_told=_any(at, is_told, len(ids))
    )


def _keys(table: Tabulated) -> NDArray[np.uint64]:
    return table.pair_a.astype(np.uint64) << np.uint64(32) | table.pair_b


def _summed(keys: NDArray[np.uint64], px: Ints) -> tuple[NDArray[np.uint64], Ints]:
    kept, at = np.unique(keys, return_inverse=True)
    return kept, sums(at, px, len(kept))


def _any(at: NDArray[Any], flags: Flags, n: int) -> Flags:
    """Return (n,) whether any of the flags that belong to an instance is set."""
    found = np.zeros(n, np.bool_)
    found[at[flags]] = True
    return found


def _left(side: Instances, alone: Flags, at: NDArray[Any], iou: Floats) -> Left:
    best = np.zeros(len(side.ids))
    np.maximum.at(best, at, iou)
    return Left(ids=side.ids[alone], px=side.px[alone], best_iou=best[alone])


def _kept(side: Instances, told: Flags, needed: NDArray[Any]) -> Instances:
    """Keep what is not told, and what is needed for another's IoU."""
    is_told = side.is_told | told
    keep = ~is_told
    keep[needed] = True
    return Instances(ids=side.ids[keep], px=side.px[keep], is_told=is_told[keep])
