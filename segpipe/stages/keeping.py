"""What stays of a finished slide beside its table, label map and report.

Stages whose arrays stay keep their receipts, so that another setting runs only what
depends on it. With the maps stays what was decoded from them, which is small beside
them and saves decoding the slide again. A detector has no maps: ``maps`` keeps what its
windows vouch for.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from segpipe.stages.stored import IMAGE, MAPS
from segpipe.stores.layout import Layout

KEPT_WITH = {
    "tile": "image",
    "predict": "maps",
    "label": "maps",
    "stitch": "maps",
    "measure": None,
}
"""The member of ``keep`` with which a stage's receipts and arrays stay."""


def dropped_stages(keep: Collection[str]) -> tuple[str, ...]:
    """Return the stages whose receipts and arrays go when a slide is finished."""
    return tuple(stage for stage, name in KEPT_WITH.items() if name not in keep)


def is_kept(name: str, layout: Layout, slide_id: str) -> bool:
    """Whether what a member of ``keep`` names is there."""
    stage = {"image": "tile", "maps": "predict"}[name]
    return any(path.exists() for path in arrays_of(stage, layout, slide_id))


def arrays_of(stage: str, layout: Layout, slide_id: str) -> tuple[Path, ...]:
    """Return what a stage wrote that may go; the label map and the table stay."""
    return {
        "tile": (layout.store(slide_id) / IMAGE,),
        "predict": (layout.store(slide_id) / MAPS, layout.detections(slide_id)),
        "label": (layout.scratch(slide_id),),
        "stitch": (layout.instances(slide_id),),
        "measure": (layout.parts(slide_id),),
    }[stage]
