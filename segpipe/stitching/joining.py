"""Instances of neighbouring tiles that are one, and the nuclei that they are together.

What is anchored in a block and has a part beyond its window is larger than the limit:
from the anchor to where it leaves are more pixels than that. So the window says of each
instance whether it is a part of a nucleus of the block, and all is exact, though the
window sees no more than itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.geometry import Box
from segpipe.labels.equivalence import equivalence_classes
from segpipe.labels.probable import is_probable
from segpipe.labels.records import (
    ANCHOR,
    AREA,
    N_COLUMNS,
    PROB,
    XMAX,
    XMIN,
    YMAX,
    YMIN,
    InstanceRecords,
    merge_records,
)
from segpipe.stitching.seams import TileRecords, seam_pairs
from segpipe.tiling.grid import TileGrid

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Tiles = Mapping[int, TileRecords]
"""Tiles by their index in the grid, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleusLimits:
    """What is too small, too large or too doubtful to be a nucleus."""

    min_area_px: int
    """Instances of fewer canvas pixels are dropped."""
    max_extent_px: int
    """Instances higher or wider than this many canvas pixels are dropped."""
    min_prob: float = 0.0
    """Instances of a lower mean probability are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNuclei:
    """The nuclei anchored in a block, and their parts in its tiles and around them."""

    nuclei: InstanceRecords
    """(N, N_COLUMNS) int64, ascending in anchor."""
    tile: NDArray[np.int32]
    """(P,) int32: tile that holds each part, ascending."""
    local: NDArray[np.int32]
    """(P,) int32: the part's id in its tile."""
    nucleus: NDArray[np.int32]
    """(P,) int32: which of the nuclei it belongs to, 0..N - 1."""

    def names_in(
        self, tile: int, ids: NDArray[np.uint32], names: NDArray[np.uint32]
    ) -> None:
        """Fill in what a tile's instances are called.

        Parameters
        ----------
        tile : int
            Index in the grid.
        ids : (N,) uint32
            Ids of the nuclei.
        names : (n_labels + 1,) uint32
            Name of each local id, written where the nucleus is one of these.
        """
        low, high = np.searchsorted(self.tile, (tile, tile + 1))
        names[self.local[low:high]] = ids[self.nucleus[low:high]]


def join(
    tiles: Tiles, grid: TileGrid, inside: Box, limits: NucleusLimits
) -> BlockNuclei:
    """Join the instances of a window into the nuclei anchored in its block.

    Parameters
    ----------
    tiles
        Those of the window that have tissue; see `Blocks.tiles_around`.
    grid
        Where they lie.
    inside
        The block, in canvas pixels.
    limits
        What is no nucleus. Judged on whole instances, so the same for any tiling.

    Raises
    ------
    StageFailed
        If two tiles disagree along their seam.
    """
    counts = [len(tile.records) for tile in tiles.values()]
    starts = np.cumsum([0, *counts])
    start_of = dict(zip(tiles, starts.tolist(), strict=False))
    records = np.concatenate(
        [np.zeros((0, N_COLUMNS), np.int64), *(t.records for t in tiles.values())]
    )
    pairs = _pairs(tiles, grid, start_of)
    n_wholes, whole_of = equivalence_classes(pairs, len(records))
    wholes = merge_records(records, whole_of, n_wholes)
    ours = _within(wholes, limits) & anchored_in(wholes, inside, grid.shape[1])
    ranked = np.flatnonzero(ours)
    ranked = ranked[np.argsort(wholes[ranked, ANCHOR], kind="stable")]
    nucleus_of = np.full(n_wholes, -1, np.int32)
    nucleus_of[ranked] = np.arange(len(ranked))
    nucleus = nucleus_of[whole_of]
    parts = np.flatnonzero(nucleus >= 0)
    at = np.searchsorted(starts, parts, side="right") - 1
    return BlockNuclei(
        nuclei=wholes[ranked],
        tile=np.fromiter(tiles, np.int32)[at],
        local=(parts - starts[at] + 1).astype(np.int32),
        nucleus=nucleus[parts],
    )


def _pairs(tiles: Tiles, grid: TileGrid, start_of: Mapping[int, int]) -> Ints:
    """Return (P, 2) rows of all records that are one instance; repeats allowed."""
    pairs = [ids - 1 + [start_of[a], start_of[b]] for a, b, ids in _seams(tiles, grid)]
    return np.concatenate([np.zeros((0, 2), np.int64), *pairs])


def _seams(tiles: Tiles, grid: TileGrid) -> Iterator[tuple[int, int, Ints]]:
    """Yield two tiles and the pairs of their local ids, from 1, for each seam."""
    for index, tile in tiles.items():
        for other, beyond, side in (
            (grid.east_of(index), tile.east, "west"),
            (grid.south_of(index), tile.south, "north"),
        ):
            if other is not None and other in tiles:
                edge = getattr(tiles[other], side)
                seam = f"tiles {index} and {other}"
                yield index, other, seam_pairs(beyond, edge, seam=seam)


def _within(records: InstanceRecords, limits: NucleusLimits) -> Flags:
    height = records[:, YMAX] - records[:, YMIN]
    width = records[:, XMAX] - records[:, XMIN]
    large_enough = records[:, AREA] >= limits.min_area_px
    small_enough = np.maximum(height, width) <= limits.max_extent_px
    probable = is_probable(records[:, PROB], records[:, AREA], limits.min_prob)
    within: Flags = large_enough & small_enough & probable
    return within


def anchored_in(records: InstanceRecords, box: Box, width: int) -> Flags:
    """Return which instances have their anchor in a box of a canvas so wide."""
    y, x = np.divmod(records[:, ANCHOR], width)
    in_rows = (y >= box.y0) & (y < box.y1)
    anchored: Flags = in_rows & (x >= box.x0) & (x < box.x1)
    return anchored
