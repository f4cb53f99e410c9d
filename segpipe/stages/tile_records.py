"""What a tile leaves for stitching, as one small file."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path

from segpipe.errors import StoreDamaged
from segpipe.stages.plan import Plan
from segpipe.stages.stored import RECORDS
from segpipe.stitching.seams import TileRecords
from segpipe.stores.layout import Layout
from segpipe.stores.sealed_arrays import read_arrays, write_arrays


def write_records(plan: Plan, index: int, tile: TileRecords) -> None:
    """Write a tile's records, durably."""
    arrays = {field.name: getattr(tile, field.name) for field in fields(tile)}
    write_arrays(_path(plan, index), **arrays)


def read_records(plan: Plan, index: int) -> TileRecords:
    """Read a tile's records.

    Raises
    ------
    StoreDamaged
        If the file is missing or isn't what was written.
    """
    path = _path(plan, index)
    try:
        return TileRecords(**read_arrays(path))
    except (OSError, ValueError, TypeError) as error:
        message = (
            f"Records of tile {index} at {path} can't be read: {error}. Run again: "
            "the tile is decoded anew."
        )
        core = astuple(plan.tiles.core(index))
        raise StoreDamaged(message, array=RECORDS, box=core) from error


def _path(plan: Plan, index: int) -> Path:
    return Layout(plan.out).instances(plan.slide.id) / f"{index:08d}.safetensors"
