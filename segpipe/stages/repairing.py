"""What is damaged on disk loses its receipts, so that the next run makes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from segpipe.errors import StoreDamaged
from segpipe.geometry import Box
from segpipe.stages.plan import Plan
from segpipe.stages.stored import (
    DETECTIONS,
    IMAGE,
    MAPS,
    NUCLEI_0,
    NUCLEI_INDEX,
    PARTS,
    RECORDS,
    TILE_LABELS,
    ledger_of,
)
from segpipe.stores.leases import Hold
from segpipe.tiling.grid import TileGrid

_MAKERS = {
    IMAGE: "tile",
    MAPS: "predict",
    DETECTIONS: "predict",
    TILE_LABELS: "label",
    RECORDS: "label",
    NUCLEI_INDEX: "stitch",
    NUCLEI_0: "stitch",
    "labels": "stitch",
    PARTS: "measure",
}
"""Which stage makes what; maps and labels by the name of their group."""


@contextmanager
def revoking_damaged(plan: Plan, hold: Hold) -> Iterator[None]:
    """Let an error of a damaged store pass, and take back what vouches for the damage.

    The stage that made it is open again for the units that overlap the damage. Stages
    after it stay as they are: what is made anew is the same to the bit.

    Raises
    ------
    OutputNotOurs
        Instead, if the slide isn't held any more: another run works on the store.
    """
    try:
        yield
    except StoreDamaged as error:
        hold.check()
        if error.array is not None:
            _revoke(plan, error.array, error.box)
        raise


@contextmanager
def reopening_damaged(plan: Plan) -> Iterator[None]:
    """As `revoking_damaged`, for who reads results after the last stage is closed.

    That stage is open again, or nobody would need what is to be made anew.
    """
    hold = ledger_of(plan).hold()
    try:
        with revoking_damaged(plan, hold):
            yield
    except StoreDamaged:
        ledger_of(plan).forget("measure")
        raise


def _revoke(plan: Plan, array: str, damaged: tuple[int, int, int, int] | None) -> None:
    maker = _MAKERS.get(array) or _MAKERS.get(array.split("/", maxsplit=1)[0])
    if maker is None:
        return
    ledger = ledger_of(plan)
    if damaged is None:
        ledger.forget(maker)
    else:
        units = _grid(plan, maker).overlapping(Box(*damaged))
        ledger.revoke(maker, plan.keys[maker], units)


def _grid(plan: Plan, stage: str) -> TileGrid:
    return plan.windows if stage in {"tile", "predict"} else plan.tiles
