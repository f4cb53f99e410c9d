"""Names of the stored arrays of a slide, and how stages open them."""

from __future__ import annotations

from segpipe.stages.plan import Plan
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.stores.slide_store import SlideStore

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
