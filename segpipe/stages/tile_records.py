"""What a tile leaves for stitching, as one small file without pickle."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import StoreDamaged
from segpipe.labels.records import InstanceRecords
from segpipe.stages.plan import Plan
from segpipe.stages.stored import RECORDS
from segpipe.stitching.seams import TileLabels
from segpipe.stores.durable import replacing
from segpipe.stores.layout import Layout
from segpipe.stores.sealed import read_sealed, seal


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRecords:
    """Records of a tile's instances and what it says along its four seams."""

    records: InstanceRecords
    """(N, 6) int64, a row per instance in order of local id."""
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

    def at_seams(self) -> NDArray[np.int64]:
        """Return the rows of instances with a pixel along a seam, ascending."""
        strips = (self.west, self.north, self.east, self.south)
        ids = np.unique(np.concatenate(strips))
        return ids[ids > 0].astype(np.int64) - 1


def write_records(plan: Plan, index: int, tile: TileRecords) -> None:
    """Write a tile's records, durably."""
    arrays = {field.name: getattr(tile, field.name) for field in fields(tile)}
    with replacing(_path(plan, index)) as temporary:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        seal(temporary)


def read_records(plan: Plan, index: int) -> TileRecords:
    """Read a tile's records.

    Raises
    ------
    StoreDamaged
        If the file is missing or isn't what was written.
    """
    path = _path(plan, index)
    try:
        content = BytesIO(read_sealed(path))
        with np.load(content, allow_pickle=False) as stored:
            return TileRecords(
                **{field.name: stored[field.name] for field in fields(TileRecords)}
            )
    except (OSError, ValueError) as error:
        message = (
            f"Records of tile {index} at {path} can't be read: {error}. Run again: "
            "the tile is decoded anew."
        )
        core = astuple(plan.tiles.core(index))
        raise StoreDamaged(message, array=RECORDS, box=core) from error


def _path(plan: Plan, index: int) -> Path:
    return Layout(plan.out).instances(plan.slide.id) / f"{index:08d}.npz"
