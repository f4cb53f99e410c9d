"""A row of tiles: its instances, and which of them the seams say are one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from segpipe.labels.records import InstanceRecords
from segpipe.stitching.seams import TileRecords, seam_pairs
from segpipe.tiling.grid import TileGrid

Ints = NDArray[np.int64]
Tiles = Mapping[int, TileRecords]
"""Tiles of one row by their index in the grid, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRow:
    """The instances of one row of tiles."""

    records: InstanceRecords
    """(M, N_COLUMNS) int64, those of one tile after those of the other."""
    counts: Ints
    """(T,) how many of them each tile has."""
    pairs: Ints
    """(P, 2) two rows of ``records`` that are one instance; repeats allowed."""
    above: Ints
    """(Q, 2) a row of the records above and one of these that are one instance."""


def tile_row(tiles: Tiles, above: Tiles, grid: TileGrid) -> TileRow:
    """Put the tiles of a row beside each other and below those above.

    Parameters
    ----------
    tiles
        One or more tiles of a row.
    above
        Tiles of the row above; empty if there are none.
    grid
        Where they lie.

    Raises
    ------
    StageFailed
        If two tiles disagree along their seam.
    """
    starts, starts_above = _starts(tiles), _starts(above)
    return TileRow(
        records=np.concatenate([tile.records for tile in tiles.values()]),
        counts=np.array([len(tile.records) for tile in tiles.values()], np.int64),
        pairs=_paired(_along_columns(tiles, grid), starts, starts),
        above=_paired(_along_rows(above, tiles, grid), starts_above, starts),
    )


def _starts(tiles: Tiles) -> Mapping[int, int]:
    counts = (len(tile.records) for tile in tiles.values())
    return dict(zip(tiles, accumulate(counts, initial=0), strict=False))


Seam = tuple[int, int, Ints]
"""Two tiles and the pairs of their local ids, from 1."""


def _along_columns(tiles: Tiles, grid: TileGrid) -> Iterator[Seam]:
    for west, tile in tiles.items():
        if (east := grid.east_of(west)) is not None and east in tiles:
            seam = f"tiles {west} and {east}"
            yield west, east, seam_pairs(tile.east, tiles[east].west, seam=seam)


def _along_rows(above: Tiles, tiles: Tiles, grid: TileGrid) -> Iterator[Seam]:
    for north, tile in above.items():
        if (south := grid.south_of(north)) is not None and south in tiles:
            seam = f"tiles {north} and {south}"
            yield north, south, seam_pairs(tile.south, tiles[south].north, seam=seam)


def _paired(
    seams: Iterator[Seam], starts: Mapping[int, int], starts_other: Mapping[int, int]
) -> Ints:
    pairs = [ids - 1 + [starts[a], starts_other[b]] for a, b, ids in seams]
    return np.concatenate([np.zeros((0, 2), np.int64), *pairs])
