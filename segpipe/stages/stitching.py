"""Stage 4: instances of tiles become nuclei of the slide, numbered by their anchors.

The driver goes twice through the tiles' records, a row of tiles at a time: once to join
what crosses seams, once to rank. It leaves a lookup table; workers rename their tiles
into ``labels/nuclei``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from segpipe.labels.records import InstanceRecords
from segpipe.stages._stage import Stage
from segpipe.stages.nuclei_index import read_index, write_index
from segpipe.stages.plan import Plan
from segpipe.stages.stored import (
    NUCLEI,
    NUCLEI_0,
    TILE_LABELS,
    read_tiles,
    store_of,
)
from segpipe.stages.tile_records import TileRecords, read_records
from segpipe.stitching.joining import Ints, Joined, join, parts_of
from segpipe.stitching.ranking import NucleusLimits, block_starts, rank_rows
from segpipe.stitching.seams import seam_pairs
from segpipe.stores.slide_store import ArraySpec

Row = dict[int, tuple[int, TileRecords]]
"""A row of tiles by index: where the tile's instances start among all, its records."""


def prepare(plan: Plan) -> None:
    """Join instances across seams, rank them, and make the label map's array."""
    counts, joined = _join(plan)
    ranked = rank_rows(_records(plan), joined, limits_of(plan))
    write_index(plan, block_starts(counts), ranked)
    store = store_of(plan)
    store.create(
        ArraySpec(
            path=NUCLEI_0,
            shape=plan.canvas.shape,
            chunk_px=plan.tiles.tile_px,
            dtype="uint32",
            is_label_map=True,
        )
    )
    store.describe_labels(NUCLEI, plan.canvas.mpp)


def limits_of(plan: Plan) -> NucleusLimits:
    """Return the plan's limits of a nucleus in canvas pixels."""
    mpp = plan.canvas.mpp
    return NucleusLimits(
        min_area_px=round(plan.settings.min_area_um2 / mpp**2),
        max_extent_px=plan.measure_margin_px,
    )


def _join(plan: Plan) -> tuple[list[int], Joined]:
    """Return how many instances each tile has, and those that cross seams."""
    counts: list[int] = []
    pairs = [np.zeros((0, 2), np.int64)]
    touching = [np.zeros(0, np.int64)]
    records = [np.zeros((0, 6), np.int64)]
    above: Row = {}
    for row in _rows(plan):
        for start, tile in row.values():
            local = tile.at_seams()
            counts.append(len(tile.records))
            touching.append(local + start)
            records.append(tile.records[local])
        pairs.extend(_pairs(plan, row, above))
        above = row
    joined = np.concatenate(pairs)
    parts, rows = parts_of(joined), np.concatenate(touching)
    held = np.concatenate(records)[np.searchsorted(rows, parts)]
    return counts, join(joined, parts, held)


def _rows(plan: Plan) -> Iterator[Row]:
    """Yield the tiles of each row of tiles, downwards."""
    start = 0
    for _, tiles in groupby(plan.tissue_tiles, lambda tile: tile // plan.tiles.n_cols):
        row: Row = {}
        for index in tiles:
            tile = read_records(plan, index)
            row[index] = (start, tile)
            start += len(tile.records)
        yield row


def _records(plan: Plan) -> Iterator[InstanceRecords]:
    for row in _rows(plan):
        yield np.concatenate([tile.records for _, tile in row.values()])


def _pairs(plan: Plan, row: Row, above: Row) -> Iterator[Ints]:
    """Yield the pairs of the seams inside a row and of those to the row above."""
    for index, (start, tile) in row.items():
        east = plan.tiles.east_of(index)
        if east in row:
            start_east, other = row[east]
            pairs = seam_pairs(tile.east, other.west, seam=f"tiles {index} and {east}")
            yield pairs - 1 + np.array([start, start_east])
    for index, (start, tile) in above.items():
        south = plan.tiles.south_of(index)
        if south in row:
            start_south, other = row[south]
            pairs = seam_pairs(
                tile.south, other.north, seam=f"tiles {index} and {south}"
            )
            yield pairs - 1 + np.array([start, start_south])


def work(plan: Plan, units: tuple[int, ...]) -> int:
    """Rename the instances of some tiles to nuclei; return how many they show."""
    index = read_index(plan)
    store = store_of(plan)
    n_shown = 0
    for tile in units:
        core = plan.tiles.core(tile)
        names = index.names_of(plan.tissue_tiles.index(tile))
        store.write(NUCLEI_0, core, names[read_tiles(plan, TILE_LABELS, core)])
        n_shown += int(np.count_nonzero(names))
    return n_shown


STAGE = Stage(
    name="stitch",
    version=2,
    units=lambda plan: plan.tissue_tiles,
    batch_units=4,
    prepare=prepare,
    work=work,
)
