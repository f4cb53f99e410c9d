"""Stage 4: instances of tiles become nuclei of the slide, numbered by their anchors.

The driver joins what crosses seams, a block of tiles at a time, and ranks the nuclei, a
band of blocks at a time. Workers rename their tiles into ``labels/nuclei``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from segpipe.labels.records import ANCHOR
from segpipe.stages._stage import Stage
from segpipe.stages.nuclei_index import (
    NucleiIndex,
    write_block,
    write_ids,
    write_last_ids,
)
from segpipe.stages.plan import Plan
from segpipe.stages.stored import (
    NUCLEI,
    NUCLEI_0,
    TILE_LABELS,
    read_tiles,
    store_of,
)
from segpipe.stages.tile_records import read_records
from segpipe.stitching.joining import BlockNuclei, NucleusLimits, join
from segpipe.stitching.ranking import Anchors, rank_band
from segpipe.stores.slide_store import ArraySpec


def prepare(plan: Plan) -> None:
    """Join instances across seams, rank them, and make the label map's array."""
    _index_nuclei(plan)
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
    """Return the plan's limits of a nucleus."""
    mpp = plan.canvas.mpp
    return NucleusLimits(
        min_area_px=round(plan.settings.min_area_um2 / mpp**2),
        max_extent_px=plan.measure_margin_px,
        min_prob=plan.min_prob,
    )


def _index_nuclei(plan: Plan) -> None:
    """Write the nuclei of all blocks, and their ids."""
    index = NucleiIndex(plan)
    last_ids = [0]
    for row in range(index.blocks.grid.n_rows):
        band = index.with_tissue(index.blocks.band(row))
        for block in band:
            write_block(plan, block, _joined(index, block))
        last_id = last_ids[-1]
        anchors = partial(_anchors, index, band)
        ranks = rank_band(anchors, index.blocks.lines(row), n_before=last_id)
        for block, ids in zip(band, ranks, strict=True):
            write_ids(plan, block, ids)
            last_id += len(ids)
        last_ids.append(last_id)
    write_last_ids(plan, last_ids)


def _anchors(index: NucleiIndex, band: Sequence[int]) -> Iterator[Anchors]:
    return (index.block(block).nuclei[:, ANCHOR] for block in band)


def _joined(index: NucleiIndex, block: int) -> BlockNuclei:
    """Join the nuclei of a block from the records of the tiles around it."""
    plan, blocks = index.plan, index.blocks
    around = [tile for tile in blocks.tiles_around(block) if tile in index.tissue]
    tiles = {tile: read_records(plan, tile) for tile in around}
    return join(tiles, plan.tiles, blocks.grid.core(block), limits_of(plan))


def work(plan: Plan, units: tuple[int, ...]) -> int:
    """Rename the instances of some tiles to nuclei; return how many they show."""
    index = NucleiIndex(plan)
    store = store_of(plan)
    n_shown = 0
    for tile in units:
        core = plan.tiles.core(tile)
        labels = read_tiles(plan, TILE_LABELS, core)
        names = index.names_of(tile, int(labels.max(initial=0)))
        store.write(NUCLEI_0, core, names[labels])
        n_shown += int(np.count_nonzero(names))
    return n_shown


STAGE = Stage(
    name="stitch",
    version=4,
    units=lambda plan: plan.tissue_tiles,
    batch_units=4,
    prepare=prepare,
    work=work,
)
