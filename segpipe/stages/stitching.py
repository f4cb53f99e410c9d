"""Stage 4: instances of tiles become nuclei of the slide, numbered by their anchors.

The driver reads the tiles' records and seams, joins, ranks, and leaves a lookup table;
workers rename their tiles into ``labels/nuclei``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from segpipe.stages._stage import Stage
from segpipe.stages.nuclei_index import NucleiIndex, read_index, write_index
from segpipe.stages.plan import Plan
from segpipe.stages.stored import (
    NUCLEI,
    NUCLEI_0,
    TILE_LABELS,
    scratch_of,
    store_of,
)
from segpipe.stages.tile_records import TileRecords, read_records
from segpipe.stitching.ranking import NucleusLimits, block_starts, rank_nuclei
from segpipe.stitching.seams import seam_pairs
from segpipe.stores.slide_store import ArraySpec


def prepare(plan: Plan) -> None:
    """Join instances across seams, rank them, and make the label map's array."""
    tiles = {index: read_records(plan, index) for index in plan.tissue_tiles}
    starts = block_starts([len(tile.records) for tile in tiles.values()])
    start_of = dict(zip(tiles, starts, strict=False))
    pairs = np.concatenate([_no_pairs(), *_all_pairs(plan, tiles, start_of)])
    records = np.concatenate(
        [np.zeros((0, 6), np.int64), *(tile.records for tile in tiles.values())]
    )
    ranking = rank_nuclei(records, pairs, limits_of(plan))
    write_index(plan, NucleiIndex(starts=starts, ranking=ranking))
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


def _no_pairs() -> NDArray[np.int64]:
    return np.zeros((0, 2), np.int64)


def _all_pairs(
    plan: Plan, tiles: dict[int, TileRecords], start_of: dict[int, np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Yield the pairs of every seam between two tiles, as rows of all records."""
    for index, tile in tiles.items():
        for other, beyond, side in (
            (plan.tiles.east_of(index), tile.east, "west"),
            (plan.tiles.south_of(index), tile.south, "north"),
        ):
            if other in tiles:
                edge = getattr(tiles[other], side)
                pairs = seam_pairs(beyond, edge, seam=f"tiles {index} and {other}")
                starts = np.array([start_of[index], start_of[other]], np.int64)
                yield pairs - 1 + starts


def work(plan: Plan, units: tuple[int, ...]) -> int:
    """Rename the instances of some tiles to nuclei; return how many they show."""
    index = read_index(plan)
    scratch, store = scratch_of(plan), store_of(plan)
    n_shown = 0
    for tile in units:
        core = plan.tiles.core(tile)
        names = index.names_of(plan.tissue_tiles.index(tile))
        store.write(NUCLEI_0, core, names[scratch.read(TILE_LABELS, core)])
        n_shown += int(np.count_nonzero(names))
    return n_shown


STAGE = Stage(
    name="stitch",
    version=1,
    units=lambda plan: plan.tissue_tiles,
    batch_units=4,
    prepare=prepare,
    work=work,
)
