"""Blocks of tiles: what is joined and named at a time.

A nucleus belongs to the block that holds its anchor and is no larger than the limit. So
all its parts lie in a window around the block: its tiles, those that the limit reaches
to the sides and below, and one row above, which tells what began there.

::

      . . . . . .    above: what has a part here isn't anchored in the block
      . █ █ █ █ .
      . █ █ █ █ .    █ tiles of the block
      . . . . . .    below and to the sides: as far as the limit reaches
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segpipe.geometry import Box
from segpipe.tiling.grid import TileGrid

BLOCK_PX = 4096
"""Side of a block of small tiles; larger tiles are a block each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The blocks of a grid of tiles, numbered in raster order."""

    tiles: TileGrid
    """The tiles of the canvas."""
    reach_px: int
    """Height and width of the largest nucleus."""
    least_px: int = BLOCK_PX
    """Blocks are at least as large as this and as a nucleus, unless the slide ends."""

    @property
    def grid(self) -> TileGrid:
        """The blocks as cells of a grid, each of whole tiles."""
        least_px = max(self.least_px, self.reach_px)
        side = max(1, round(least_px / self.tiles.tile_px))
        return TileGrid(shape=self.tiles.shape, tile_px=side * self.tiles.tile_px)

    def band(self, row: int) -> range:
        """Return the blocks of a row of blocks, from west to east."""
        n_cols = self.grid.n_cols
        return range(row * n_cols, (row + 1) * n_cols)

    def lines(self, row: int) -> Box:
        """Return what a row of blocks covers: the canvas from side to side."""
        band = self.band(row)
        first, last = self.grid.core(band[0]), self.grid.core(band[-1])
        return Box(first.y0, first.x0, last.y1, last.x1)

    def tiles_in(self, block: int) -> Sequence[int]:
        """Return the tiles of a block."""
        return self.tiles.overlapping(self.grid.core(block))

    def tiles_around(self, block: int) -> Sequence[int]:
        """Return the tiles of a block and of its window, in raster order."""
        core, reach_px = self.grid.core(block), self.reach_px
        window = Box(
            core.y0 - 1, core.x0 - reach_px, core.y1 + reach_px, core.x1 + reach_px
        )
        return self.tiles.overlapping(window)

    def that_name(self, tile: int) -> Sequence[int]:
        """Return the blocks that may hold the anchors of a tile's instances."""
        core, reach_px = self.tiles.core(tile), self.reach_px
        anchors = Box(
            core.y0 - reach_px, core.x0 - reach_px, core.y1, core.x1 + reach_px
        )
        return self.grid.overlapping(anchors)
