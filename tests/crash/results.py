"""What a run has come to: its stage by the ledger, and its result byte by byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

from segpipe.stages.path import STAGES
from segpipe.stores.layout import Layout

ORDER = ("start", *(stage.name for stage in STAGES), "publish", "published")
WITH_TIMES = {"slides.parquet", "report.html"}
"""Files of a result folder that say how long stages took, and the pages of slides."""


def contents(out: Path) -> dict[str, str]:
    """Return the hash of every file of a result, less the ledger and the times."""
    found = {}
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        is_timed = name in WITH_TIMES or name.endswith(".html")
        if path.is_file() and not name.startswith("ledger/") and not is_timed:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def stage_of(layout: Layout, slide: str) -> str:
    """Return what a slide is at, by its ledger."""
    ledger = layout.ledger(slide)
    if (ledger / "row.json").exists():
        return "published"
    for at in reversed(range(1, len(STAGES) + 1)):
        for folder in ledger.glob(f"{ORDER[at]}-*"):
            return ORDER[at + (folder / "closed.json").exists()]
    return "start"


def has_come(stage: str, batch: int, layout: Layout, slide: str) -> bool:
    """Whether so many batches of a stage are done, or a later stage has begun."""
    now = stage_of(layout, slide)
    if stage == "start" or ORDER.index(now) > ORDER.index(stage):
        return True
    receipts = layout.ledger(slide).glob(f"{stage}-*/[0-9]*.json")
    return now == stage and (stage == "publish" or sum(1 for _ in receipts) >= batch)
