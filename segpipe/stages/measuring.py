"""Stage 5: label map, pixels and scores become a row per nucleus, then one table.

A tile measures the nuclei it owns (whose anchor lies in its core), over a box that
holds them whole. The driver merges the tiles' rows and puts the table in place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from itertools import groupby
from pathlib import Path

import numpy as np

from segpipe.errors import StoreDamaged
from segpipe.geometry import Box
from segpipe.labels.records import XMAX, XMIN, YMAX, YMIN, InstanceRecords
from segpipe.stages._stage import Stage
from segpipe.stages.answers import Labelled, answers_of
from segpipe.stages.devices import kind_of
from segpipe.stages.nuclei_index import NucleiIndex
from segpipe.stages.plan import MIN_PROB, Plan
from segpipe.stages.stored import (
    IMAGE,
    NUCLEI_0,
    PARTS,
    read_tiles,
    read_windows,
)
from segpipe.stitching.ranking import Ids
from segpipe.stores.layout import Layout
from segpipe.tables.measuring import Frame, measure
from segpipe.tables.parquet import (
    ROW_GROUP_ROWS,
    TableWriter,
    read_part,
    write_part,
)
from segpipe.tables.rows import Rows, in_order

SORTED_ROWS = ROW_GROUP_ROWS
"""Rows of the table that are put in order at a time: what the driver holds of it."""


def work(plan: Plan, units: tuple[int, ...]) -> int:
    """Measure the nuclei that some tiles own; return how many."""
    return sum(_measure_tile(plan, tile) for tile in units)


def _measure_tile(plan: Plan, tile: int) -> int:
    ids, records = NucleiIndex(plan).owned_by(tile)
    if len(ids):
        box = _enclosing(records)
        labels = read_tiles(plan, NUCLEI_0, box)
        labelled = Labelled(box=box, labels=labels, ids=ids, records=records)
        rows = measure(
            labels,
            ids,
            planes=read_windows(plan, IMAGE, box),
            maps=answers_of(plan).maps(plan, labelled),
            frame=frame_of(plan, box),
        )
        write_part(_part(plan, tile), rows)
    return len(ids)


def _enclosing(records: InstanceRecords) -> Box:
    lows, highs = records.min(axis=0), records.max(axis=0)
    return Box(int(lows[YMIN]), int(lows[XMIN]), int(highs[YMAX]), int(highs[XMAX]))


def frame_of(plan: Plan, box: Box) -> Frame:
    """Say where a box of the canvas lies on the slide."""
    return Frame(
        box=box,
        mpp=plan.canvas.mpp,
        downsample=plan.canvas.downsample,
        canvas_shape=plan.canvas.shape,
        window_px=plan.windows.tile_px,
        slide_id=plan.slide.id,
        type_names=plan.network.types,
    )


def finish(plan: Plan) -> None:
    """Write the table: rows of all tiles, ascending in id, whatever the tiles."""
    path = Layout(plan.out).table(plan.slide.id)
    with TableWriter(path, metadata=_metadata(plan)) as writer:
        for rows in _rows(plan):
            writer.append(rows)


def _rows(plan: Plan) -> Iterator[Rows]:
    """Yield all rows, ascending in id, ``SORTED_ROWS`` at a time.

    Ids ascend with the anchors in raster order, so the nuclei of a row of tiles come
    before those of the next, and those of a tile are sorted.
    """
    n_cols = plan.tiles.n_cols
    index = NucleiIndex(plan)
    for _, tiles in groupby(plan.tissue_tiles, key=lambda tile: tile // n_cols):
        owned = {tile: index.owned_by(tile)[0] for tile in tiles}
        owned = {tile: ids for tile, ids in owned.items() if len(ids)}
        first = min((int(ids[0]) for ids in owned.values()), default=0)
        last = max((int(ids[-1]) for ids in owned.values()), default=-1)
        for low in range(first, last + 1, SORTED_ROWS):
            yield in_order(list(_rows_between(plan, owned, low, low + SORTED_ROWS)))


def _rows_between(
    plan: Plan, owned: Mapping[int, Ids], low: int, high: int
) -> Iterator[Rows]:
    """Yield the rows of each tile whose ids are ``low <= id < high``."""
    for tile, ids in owned.items():
        start, stop = np.searchsorted(ids, (low, high))
        if start < stop:
            yield _read_part(plan, tile, range(int(start), int(stop)))


def _read_part(plan: Plan, tile: int, rows: range) -> Rows:
    try:
        return read_part(_part(plan, tile), rows)
    except StoreDamaged as error:
        error.array, error.box = PARTS, astuple(plan.tiles.core(tile))
        raise


def _part(plan: Plan, tile: int) -> Path:
    return Layout(plan.out).parts(plan.slide.id) / f"{tile:08d}.arrow"


def _metadata(plan: Plan) -> dict[str, str]:
    """Return what the table says of itself: what decides its content, nothing else."""
    decisive = {
        "min_area_um2": plan.settings.min_area_um2,
        "max_extent_um": plan.settings.max_extent_um,
        "decoding": plan.network.decoding | {MIN_PROB: plan.min_prob},
        "device": kind_of(plan.device),
    }
    return {
        "slide_id": plan.slide.id,
        "slide_mpp": repr(plan.slide_mpp),
        "mpp": repr(plan.canvas.mpp),
        "network": plan.network.name,
        "weights_sha256": plan.network.sha256,
        "types": json.dumps(plan.network.types),
        "settings": json.dumps(decisive, sort_keys=True),
    }


STAGE = Stage(
    name="measure",
    version=2,
    units=lambda plan: plan.tissue_tiles,
    batch_units=2,
    work=work,
    finish=finish,
)
