"""Names of the stored arrays of a slide, and how stages open them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from numpy.typing import NDArray

from segpipe.geometry import Box
from segpipe.stages.plan import Plan
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.stores.slide_store import SlideStore
from segpipe.tiling.grid import TileGrid

IMAGE = "image"
"""(3, Y, X) uint8, white where no pixels were needed."""
TISSUE = "tissue"
"""(Y, X) uint8, 1 where there is tissue, at its own mpp."""
MAPS = "maps"
"""Group with one array per head of the network."""
NUCLEI = "labels/nuclei"
"""Group of the label map of the slide."""
NUCLEI_0 = f"{NUCLEI}/0"
"""(Y, X) uint32, nucleus ids."""
TILE_LABELS = "tile_labels"
"""Scratch (Y, X) int32: ids local to each tile."""

DETECTIONS = "detections"
"""Files: what each window of a detector vouches for."""
RECORDS = "records"
"""Files: records and seam strips of each tile."""
NUCLEI_INDEX = "nuclei_index"
"""Files: the nuclei of the slide before they are measured."""
PARTS = "parts"
"""Files: the rows that each tile measured."""


def map_path(head: str) -> str:
    """Return the path of the map of a head."""
    return f"{MAPS}/{head}"


def store_of(plan: Plan) -> SlideStore:
    """Return the store that users see."""
    return SlideStore(Layout(plan.out).store(plan.slide.id))


def scratch_of(plan: Plan) -> SlideStore:
    """Return the store that is gone when the table is written."""
    return SlideStore(Layout(plan.out).scratch(plan.slide.id))


def ledger_of(plan: Plan) -> Ledger:
    """Return the ledger of the plan's slide."""
    return Ledger(Layout(plan.out), plan.slide.id)


def read_windows(plan: Plan, path: str, box: Box) -> NDArray[Any]:
    """Read a box of the image or of a map; white or 0 where no window was written.

    Raises
    ------
    StoreDamaged
        If what was written there is damaged or gone.
    """
    written = plan.image_windows if path == IMAGE else plan.tissue_windows
    cores = _written_cores(plan.windows, written, box)
    return store_of(plan).read(path, box, written=cores)


def read_tiles(plan: Plan, path: str, box: Box) -> NDArray[Any]:
    """Read a box of a label map; 0 where no tile was written.

    Raises
    ------
    StoreDamaged
        If what was written there is damaged or gone.
    """
    cores = _written_cores(plan.tiles, plan.tissue_tiles, box)
    store = scratch_of(plan) if path == TILE_LABELS else store_of(plan)
    return store.read(path, box, written=cores)


def _written_cores(grid: TileGrid, written: tuple[int, ...], box: Box) -> list[Box]:
    """Return the cells under a box that are among those written, which ascend."""
    wanted = grid.overlapping(box)
    at = [bisect_left(written, unit) for unit in wanted]
    return [
        grid.core(unit)
        for unit, i in zip(wanted, at, strict=True)
        if i < len(written) and written[i] == unit
    ]
