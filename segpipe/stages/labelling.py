"""Stage 3: what the network says of a tile and its halo, decoded; the core is kept.

Leaves the tile's label map in scratch, and beside it the records of its instances and
its four seam strips.
"""

from __future__ import annotations

import numpy as np

from segpipe.decoding.scored import Scored
from segpipe.geometry import Box
from segpipe.labels.records import (
    ANCHOR,
    TYPE,
    InstanceRecords,
    instance_records,
)
from segpipe.stages._stage import Stage
from segpipe.stages.answers import answers_of
from segpipe.stages.plan import Plan
from segpipe.stages.stored import TILE_LABELS, scratch_of
from segpipe.stages.tile_records import write_records
from segpipe.stitching.seams import TileRecords, cut_core
from segpipe.stores.slide_store import ArraySpec


def prepare(plan: Plan) -> None:
    """Make the scratch array of tile labels."""
    scratch_of(plan).create(
        ArraySpec(
            path=TILE_LABELS,
            shape=plan.canvas.shape,
            unit_px=plan.tiles.tile_px,
            dtype="int32",
            is_label_map=True,
        )
    )


def work(plan: Plan, units: tuple[int, ...]) -> int:
    """Decode some tiles; return how many instances have a pixel in their cores."""
    return sum(_label_tile(plan, index) for index in units)


def _label_tile(plan: Plan, index: int) -> int:
    core = plan.tiles.core(index)
    read_box = plan.tiles.read_box(index, plan.halo_px)
    decoded = decode_box(plan, read_box)
    tile = cut_core(decoded.labels, read_box, core)
    width = plan.canvas.shape[1]
    prob = decoded.prob[core.relative_to(read_box).slices()]
    records = instance_records(tile.core, prob, core, width, tile.n_labels)
    _note_types(records, decoded, read_box, width)
    scratch_of(plan).write(TILE_LABELS, core, tile.core)
    write_records(plan, index, TileRecords.of(tile, records))
    return tile.n_labels


def _note_types(
    records: InstanceRecords, decoded: Scored, box: Box, canvas_width: int
) -> None:
    """Note the types, found by the instances' first pixels."""
    y, x = np.divmod(records[:, ANCHOR], canvas_width)
    rows = decoded.labels[y - box.y0, x - box.x0] - 1
    records[:, TYPE] = decoded.types[rows]


def decode_box(plan: Plan, box: Box) -> Scored:
    """Decode a box of what the network says with the plan's constants."""
    return answers_of(plan).decode(plan, box)


STAGE = Stage(
    name="label",
    version=4,
    units=lambda plan: plan.tissue_tiles,
    batch_units=2,
    prepare=prepare,
    work=work,
)
