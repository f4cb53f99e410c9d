"""Large slides put together from small real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from segpipe import open_slide
from segpipe.geometry import Box

EXAMPLE = Path(__file__).parents[2] / "examples" / "cmu-1-small-region.svs"
CELL_PX = 512
MPP = 0.499
PAPER = 243
"""Grey of the glass beside the tissue."""


def cells() -> NDArray[np.uint8]:
    """Return squares of real tissue, (N, CELL_PX, CELL_PX, 3)."""
    with open_slide(EXAMPLE) as slide:
        rgb = slide.read(Box(1200, 700, 1200 + 3 * CELL_PX, 700 + 3 * CELL_PX), 0)
    squares = rgb.reshape(3, CELL_PX, 3, CELL_PX, 3).swapaxes(1, 2)
    return squares.reshape(-1, CELL_PX, CELL_PX, 3)


def write_mosaic(path: Path, side_px: int, n_cells: int) -> Path:
    """Write a pyramid of which so many squares, evenly spread, are tissue.

    Parameters
    ----------
    path
        TIFF to write.
    side_px
        Height and width; a multiple of ``CELL_PX``.
    n_cells
        Squares of tissue.
    """
    squares, per_row = cells(), side_px // CELL_PX
    places = np.linspace(0, per_row**2 - 1, n_cells).round().astype(int)
    chosen = {int(place): at % len(squares) for at, place in enumerate(places)}
    with tifffile.TiffWriter(path) as tiff:
        for level, factor in enumerate((1, 4, 16)):
            small = _shrunk(squares, factor)
            tiff.write(
                _tiles(small, per_row, chosen),
                shape=(side_px // factor, side_px // factor, 3),
                dtype=np.uint8,
                tile=small.shape[1:3],
                photometric="rgb",
                compression="zlib",
                subifds=2 if level == 0 else 0,
                subfiletype=int(level > 0),
                resolution=(1e4 / MPP / factor, 1e4 / MPP / factor),
                resolutionunit="CENTIMETER",
            )
    return path


def _shrunk(squares: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    n, side = len(squares), CELL_PX // factor
    blocks = squares.reshape(n, side, factor, side, factor, 3)
    return blocks.mean(axis=(2, 4)).astype(np.uint8)


def _tiles(
    squares: NDArray[np.uint8], per_row: int, chosen: dict[int, int]
) -> Iterator[NDArray[np.uint8]]:
    blank = np.full_like(squares[0], PAPER)
    for place in range(per_row**2):
        yield squares[chosen[place]] if place in chosen else blank
