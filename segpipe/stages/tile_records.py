"""What a tile leaves for stitching, as one small file without pickle."""

from __future__ import annotations

from dataclasses import astuple, fields
from io import BytesIO
from pathlib import Path

import numpy as np

from segpipe.errors import StoreDamaged
from segpipe.stages.plan import Plan
from segpipe.stages.stored import RECORDS
from segpipe.stitching.seams import TileRecords
from segpipe.stores.durable import replacing
from segpipe.stores.layout import Layout
from segpipe.stores.sealed import read_sealed, seal


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
