"""A slide of any number of nuclei: one dense tile, over and over, joined at its seams.

The pattern is periodic, so nuclei cross every seam and corner as they do in tissue.
"""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from scipy import ndimage

from segpipe.geometry import Box
from segpipe.labels.records import instance_records
from segpipe.stages.tile_records import write_records
from segpipe.stitching.seams import TileRecords, cut_core
from segpipe.tiling.grid import TileGrid

TILE_PX = 1024


@cache
def dense_tile(tile_px=TILE_PX):
    """Return a tile's labels, cut from three by three copies of a periodic pattern."""
    rng = np.random.default_rng(5)
    foreground = np.zeros((3 * tile_px, 3 * tile_px), np.uint8)
    for _ in range(tile_px**2 // 600):
        y, x = rng.uniform(0, tile_px, 2)
        axes = tuple(int(a) for a in rng.uniform(4, 9, 2))
        turn = rng.uniform(0, 180)
        for shift in np.ndindex(4, 4):
            at = (
                int(x + (shift[1] - 0.5) * tile_px),
                int(y + (shift[0] - 0.5) * tile_px),
            )
            cv2.ellipse(foreground, at, axes, turn, 0, 360, 1, -1)
    labels = ndimage.label(foreground)[0].astype(np.int32)
    whole = Box(0, 0, 3 * tile_px, 3 * tile_px)
    return cut_core(labels, whole, Box(tile_px, tile_px, 2 * tile_px, 2 * tile_px))


def dense_plan(plan, n_nuclei, tile_px=TILE_PX):
    """Return a plan like ``plan`` of a square slide of about so many nuclei."""
    side = max(1, round((n_nuclei / dense_tile(tile_px).n_labels) ** 0.5))
    shape = (side * tile_px, side * tile_px)
    return plan.model_copy(
        update={
            "canvas": plan.canvas.model_copy(update={"shape": shape}),
            "tiles": TileGrid(shape=shape, tile_px=tile_px),
            "tissue_tiles": tuple(range(side * side)),
        }
    )


def write_all_records(plan, tile_px=TILE_PX):
    """Leave what the label stage would have left."""
    tile = dense_tile(tile_px)
    sure, width = np.full(tile.core.shape, 255, np.uint8), plan.canvas.shape[1]
    for index in plan.tissue_tiles:
        core = plan.tiles.core(index)
        records = instance_records(tile.core, sure, core, width, tile.n_labels)
        write_records(
            plan, index, TileRecords.of(_at_the_end(tile, plan, index), records)
        )


def _at_the_end(tile, plan, index):
    """Return the tile without the strips that lie beyond the slide."""
    nothing = np.zeros(0, np.int32)
    return replace(
        tile,
        east=tile.east if plan.tiles.east_of(index) is not None else nothing,
        south=tile.south if plan.tiles.south_of(index) is not None else nothing,
    )
