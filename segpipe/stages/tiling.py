"""Stage 1: pixels of the slide at the network's mpp, into zarr.

Reads a window's core from the slide, area-averages it, writes one chunk of ``image``.
"""

from __future__ import annotations

import numpy as np

from segpipe.arrays import to_planes
from segpipe.slides import open_slide
from segpipe.stages._stage import Stage
from segpipe.stages.canvas import read_canvas
from segpipe.stages.plan import Plan
from segpipe.stages.stored import IMAGE, TISSUE, store_of
from segpipe.stages.tissue_mask import find_tissue
from segpipe.stages.unchanged import check_unchanged
from segpipe.stores.slide_store import ArraySpec


def prepare(plan: Plan) -> None:
    """Make the image array and keep the tissue mask."""
    store = store_of(plan)
    shape, unit_px = (3, *plan.canvas.shape), plan.windows.tile_px
    store.create(
        ArraySpec(path=IMAGE, shape=shape, unit_px=unit_px, dtype="uint8", fill=255)
    )
    store.describe_image(plan.slide.id, plan.canvas.mpp)
    _keep_tissue(plan)
    check_unchanged(plan)


def _keep_tissue(plan: Plan) -> None:
    store = store_of(plan)
    with open_slide(plan.slide.path, reader=plan.reader) as slide:
        tissue = find_tissue(slide, plan.slide_mpp, plan.tissue_given)
    whole = ArraySpec(
        path=TISSUE,
        shape=tissue.mask.shape,
        unit_px=max(tissue.mask.shape),
        dtype="uint8",
    )
    store.create(whole)
    pixels = tissue.mask.astype(np.uint8)
    store.write(TISSUE, plan.canvas.box.of_shape(tissue.mask.shape), pixels)
    store.note(TISSUE, {"mpp": tissue.mpp})


def work(plan: Plan, units: tuple[int, ...]) -> int:
    """Write the pixels of some windows; return how many pixels."""
    store = store_of(plan)
    with open_slide(plan.slide.path, reader=plan.reader) as slide:
        for index in units:
            core = plan.windows.core(index)
            rgb = read_canvas(slide, plan.canvas, core)
            store.write(IMAGE, core, to_planes(rgb))
    check_unchanged(plan)
    return sum(plan.windows.core(index).area for index in units)


STAGE = Stage(
    name="tile",
    version=1,
    units=lambda plan: plan.image_windows,
    batch_units=8,
    prepare=prepare,
    work=work,
)
