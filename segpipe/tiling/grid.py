"""A grid of square cells over an array: a description; a cell is an index."""

from __future__ import annotations

from dataclasses import dataclass

from segpipe.errors import SettingsError
from segpipe.geometry import Box


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """Square cells of ``tile_px`` that partition an array of ``shape``.

    Cells are numbered in raster order; the last row and column may be narrower. Tiles,
    inference windows and chunks are all cells of some grid.

    Raises
    ------
    SettingsError
        If ``tile_px`` or the shape is not positive.
    """

    shape: tuple[int, int]
    """Height and width of the array."""
    tile_px: int
    """Side of a cell."""

    def __post_init__(self) -> None:
        if self.tile_px < 1 or min(self.shape) < 1:
            message = (
                f"A grid needs positive sizes; asked for tiles of {self.tile_px} px "
                f"over {self.shape[0]} x {self.shape[1]} px."
            )
            raise SettingsError(message)

    @property
    def n_rows(self) -> int:
        """Rows of cells."""
        return -(-self.shape[0] // self.tile_px)

    @property
    def n_cols(self) -> int:
        """Columns of cells."""
        return -(-self.shape[1] // self.tile_px)

    def __len__(self) -> int:
        return self.n_rows * self.n_cols

    def core(self, index: int) -> Box:
        """Return the box of a cell.

        Raises
        ------
        IndexError
            If there is no such cell.
        """
        if not 0 <= index < len(self):
            message = f"Cell {index} of a grid of {len(self)} cells."
            raise IndexError(message)
        row, col = divmod(index, self.n_cols)
        corner = Box(0, 0, self.tile_px, self.tile_px)
        cell = corner.shifted(row * self.tile_px, col * self.tile_px)
        return cell.intersection(Box.of_shape(self.shape))

    def read_box(self, index: int, halo_px: int) -> Box:
        """Return a cell's core grown by ``halo_px``, cut off where the array ends."""
        return self.core(index).grown(halo_px).intersection(Box.of_shape(self.shape))

    def index_at(self, y: int, x: int) -> int:
        """Return the cell that holds a pixel of the array."""
        return (y // self.tile_px) * self.n_cols + x // self.tile_px

    def east_of(self, index: int) -> int | None:
        """Return the cell to the right, if there is one."""
        return index + 1 if (index + 1) % self.n_cols else None

    def south_of(self, index: int) -> int | None:
        """Return the cell below, if there is one."""
        return index + self.n_cols if index + self.n_cols < len(self) else None

    def overlapping(self, box: Box) -> tuple[int, ...]:
        """Return the cells that share a pixel with ``box``, in raster order."""
        box = box.intersection(Box.of_shape(self.shape))
        if box.is_empty:
            return ()
        rows = range(box.y0 // self.tile_px, (box.y1 - 1) // self.tile_px + 1)
        cols = range(box.x0 // self.tile_px, (box.x1 - 1) // self.tile_px + 1)
        return tuple(row * self.n_cols + col for row in rows for col in cols)
