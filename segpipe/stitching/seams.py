"""What two tiles say of the pixels along the line between them.

A tile is decoded with enough halo that its labels are those of the slide in its core
*and one pixel beyond*. So along a seam both tiles label the same pixels: the western
tile the first column beyond its core, the eastern one its own first column, which is
the same column. Where both give an instance, the two local ids name one instance.

::

      west core │ east core            west calls the column under ^ 3, 3, 0, 7
        . 3 3   │ 1 1 .                east calls it              1, 1, 0, 2
        . 3 3   │ 1 1 .                so 3 of west is 1 of east, 7 is 2
        . . .   │ . . .
        7 7 7   │ 2 . .
                  ^

Instances are 4-connected, so one that crosses a seam anywhere crosses it here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap
from segpipe.errors import StageFailed
from segpipe.geometry import Box
from segpipe.labels.records import InstanceRecords
from segpipe.labels.renaming import in_raster_order


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLabels:
    """The label map of a tile's core, and what it says of the pixels just beyond."""

    core: LabelMap
    """(Y, X) int32; ids 1..n_labels in raster order."""
    east: NDArray[np.int32]
    """(Y,) int32: the column right of the core, in the core's ids; empty at the end."""
    south: NDArray[np.int32]
    """(X,) int32: the row below the core, in the core's ids; empty at the end."""
    n_labels: int
    """Instances with a pixel in the core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRecords:
    """Records of a tile's instances and what it says along its four seams."""

    records: InstanceRecords
    """(N, N_COLUMNS) int64, a row per instance in order of local id."""
    west: NDArray[np.int32]
    """The core's first column."""
    north: NDArray[np.int32]
    """The core's first row."""
    east: NDArray[np.int32]
    """The column beyond the core."""
    south: NDArray[np.int32]
    """The row beyond the core."""

    @classmethod
    def of(cls, tile: TileLabels, records: InstanceRecords) -> Self:
        """Return what is to be remembered of a decoded tile."""
        return cls(
            records=records,
            west=tile.core[:, 0],
            north=tile.core[0],
            east=tile.east,
            south=tile.south,
        )


def cut_core(labels: LabelMap, read_box: Box, core: Box) -> TileLabels:
    """Cut a tile's core out of the label map of its read box.

    Parameters
    ----------
    labels : (Y, X) int32
        Label map of ``read_box``.
    read_box, core : Box
        In canvas pixels. The read box holds the core and, unless the canvas ends, one
        more column to the east and row to the south.

    Returns
    -------
    TileLabels
        Ids that don't occur in the core are left out of the strips too.
    """
    inner = core.relative_to(read_box)
    rows, cols = inner.slices()
    cut = np.ascontiguousarray(labels[rows, cols])
    names = in_raster_order(cut, int(labels.max(initial=0)))
    east = labels[rows, inner.x1 : inner.x1 + 1].ravel()
    south = labels[inner.y1 : inner.y1 + 1, cols].ravel()
    return TileLabels(
        core=cut, east=names[east], south=names[south], n_labels=int(names.max())
    )


def seam_pairs(
    beyond: NDArray[np.int32], edge: NDArray[np.int32], *, seam: str
) -> NDArray[np.int64]:
    """Return the pairs of local ids that name one instance across a seam.

    Parameters
    ----------
    beyond : (L,) int32
        What the western (northern) tile says of the pixels beyond its core.
    edge : (L,) int32
        What the eastern (southern) tile says of the same pixels, its own.
    seam : str
        Name of the seam, for the error.

    Returns
    -------
    (P, 2) int64
        Unique (western id, eastern id), both above 0.

    Raises
    ------
    StageFailed
        If the western tile sees an instance where the eastern one has background: the
        tiles were not decoded from the same maps.
    """
    both = beyond > 0
    if np.any(edge[both] == 0):
        n_unlike = np.count_nonzero(edge[both] == 0)
        message = (
            f"The tiles on both sides of {seam} disagree on {n_unlike} of "
            f"{np.count_nonzero(both)} pixels. Their maps have changed between the "
            "two; remove the slide's ledger folder and run again."
        )
        raise StageFailed(message)
    pairs = np.stack([beyond[both], edge[both]], axis=1).astype(np.int64)
    return np.unique(pairs, axis=0)
