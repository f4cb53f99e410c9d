"""Stage 4: instances of tiles become nuclei of the slide, numbered by their anchors.

The driver goes once through the tiles' records, a row of tiles at a time, joins what
crosses seams and ranks. It leaves a lookup table; workers rename their tiles into
``labels/nuclei``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np

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
from segpipe.stages.tile_records import read_records
from segpipe.stitching.ranking import NucleusLimits, rank_rows
from segpipe.stitching.rows import TileRow, tile_row
from segpipe.stitching.seams import TileRecords
from segpipe.stores.slide_store import ArraySpec


def prepare(plan: Plan) -> None:
    """Join instances across seams, rank them, and make the label map's array."""
    ranked = rank_rows(_rows(plan), limits_of(plan), tile_px=plan.tiles.tile_px)
    write_index(plan, ranked)
    store = store_of(plan)
    store.create(
        ArraySpec(
            path=NUCLEI_0,
            shape=plan.canvas.shape,
            unit_px=plan.tiles.tile_px,
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


def _rows(plan: Plan) -> Iterator[TileRow]:
    """Yield the rows of tiles, downwards; each tile's records are read once."""
    above: dict[int, TileRecords] = {}
    for _, tiles in groupby(plan.tissue_tiles, lambda tile: tile // plan.tiles.n_cols):
        row = {index: read_records(plan, index) for index in tiles}
        yield tile_row(row, above, plan.tiles)
        above = row


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
