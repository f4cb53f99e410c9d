"""Stage 3: maps over a tile and its halo, decoded; the core is kept.

Leaves the tile's label map in scratch, and beside it the records of its instances and
its four seam strips.
"""

from __future__ import annotations

from segpipe.arrays import LabelMap
from segpipe.geometry import Box
from segpipe.labels.records import instance_records
from segpipe.networks import TYPE_HEAD, network
from segpipe.stages._stage import Stage
from segpipe.stages.plan import Plan
from segpipe.stages.stored import TILE_LABELS, map_path, read_windows, scratch_of
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
    tile = cut_core(decode_box(plan, read_box), read_box, core)
    width = plan.canvas.shape[1]
    records = instance_records(tile.core, core, width, tile.n_labels)
    scratch_of(plan).write(TILE_LABELS, core, tile.core)
    write_records(plan, index, TileRecords.of(tile, records))
    return tile.n_labels


def decode_box(plan: Plan, box: Box) -> LabelMap:
    """Decode a box of the stored maps with the plan's constants."""
    chosen = network(plan.network.name)
    maps = {
        head.name: read_windows(plan, map_path(head.name), box)
        for head in plan.network.heads
        if head.name != TYPE_HEAD
    }
    return chosen.decode(maps, chosen.decoding(**plan.network.decoding))


STAGE = Stage(
    name="label",
    version=1,
    units=lambda plan: plan.tissue_tiles,
    batch_units=2,
    prepare=prepare,
    work=work,
)
