"""Events as slides tell them, for tests of those who listen."""

from segpipe.config import SlideRef
from segpipe.errors import OutputNotOurs, SlideCorrupt
from segpipe.stages.events import BatchDone, SlidePlanned, StageDone, StageStarted
from segpipe.stores.ledger import Receipt
from segpipe.tables.slides import SlideRow
from tasks.outcomes import Outcome

UNITS = {"tile": 40, "predict": 20, "label": 10}


def planned(slide_id="a"):
    return SlidePlanned(
        slide_id=slide_id,
        tissue_mm2=2.0,
        n_units=UNITS,
        keys={name: f"key-{name}" for name in UNITS},
        network="hoverlite",
        device="cpu",
        worker_bytes=1,
        disk_bytes=1,
    )


def batch(stage, *units, slide_id="a", count=0):
    return BatchDone(slide_id, stage, Receipt(units=units, count=count, seconds=0.1))


def ended(slide_id="a", status="done"):
    slide = SlideRef(id=slide_id, path=slide_id)
    if status == "quarantined":
        return Outcome(slide=slide, status=status, error=SlideCorrupt("no page"))
    if status == "busy":
        return Outcome(slide=slide, status=status, error=OutputNotOurs("another run"))
    row = SlideRow(
        slide_id=slide_id, path=slide_id, status="done", n_nuclei=50, tissue_mm2=2.0
    )
    return Outcome(slide=slide, status=status, row=row)


def whole_slide(slide_id, start_s):
    """Yield the events of a slide of which each stage takes ten seconds."""
    yield start_s, planned(slide_id)
    for i, (stage, n_units) in enumerate(UNITS.items()):
        yield start_s + 10 * i, StageStarted(slide_id, stage, n_units, 0)
        yield start_s + 10 * i + 9, batch(stage, *range(n_units), slide_id=slide_id)
        yield start_s + 10 * i + 10, StageDone(slide_id, stage, n_units, 10.0, False)  # noqa: FBT003
    yield start_s + 30, ended(slide_id)
