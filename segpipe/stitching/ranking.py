"""The id of a nucleus: the rank of its anchor among those of all nuclei.

An anchor is a nucleus' first pixel in raster order, so ids depend neither on the tiles
nor on their order or their workers. Blocks side by side share lines of the canvas: how
many anchors each line has is counted over all of them first, and then ids are handed
out from west to east. Held are two numbers a line, whatever lies in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import StageFailed
from segpipe.geometry import Box

Anchors = NDArray[np.int64]
Ids = NDArray[np.uint32]

MOST_NUCLEI = 2**32 - 1
"""Ids are uint32; the largest slides have some ten million nuclei."""


def rank_band(
    blocks: Callable[[], Iterable[Anchors]],
    band: Box,
    *,
    n_before: int,
) -> Iterator[Ids]:
    """Yield the ids of the nuclei of a band of lines, block after block.

    Parameters
    ----------
    blocks
        Returns the anchors of each block of the band, from west to east, ascending
        within a block. Asked twice: to count, and to number.
    band
        The lines and columns that the blocks cover: the canvas from side to side.
    n_before : int
        Nuclei in the lines above.

    Yields
    ------
    (N,) uint32
        Ids of a block's nuclei, ascending.

    Raises
    ------
    StageFailed
        If there are more than ``MOST_NUCLEI``.
    """
    per_line = np.zeros(band.height, np.int64)
    for anchors in blocks():
        per_line += np.bincount(_lines(anchors, band), minlength=band.height)
    _check_ids(n_before + int(per_line.sum()))
    next_id = n_before + 1 + np.cumsum(per_line) - per_line
    for anchors in blocks():
        lines = _lines(anchors, band)
        begins = np.searchsorted(lines, lines)
        yield (next_id[lines] + np.arange(len(lines)) - begins).astype(np.uint32)
        next_id += np.bincount(lines, minlength=band.height)


def _lines(anchors: Anchors, band: Box) -> NDArray[np.int64]:
    return np.asarray(anchors // band.width - band.y0)


def _check_ids(n_nuclei: int) -> None:
    if n_nuclei > MOST_NUCLEI:
        message = (
            f"{n_nuclei:,} nuclei so far, more than the {MOST_NUCLEI:,} that ids can "
            "tell apart. Cut the slide, or raise min_area_um2."
        )
        raise StageFailed(message)
