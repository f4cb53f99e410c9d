"""The end of a slide: its row, its report, and nothing left that isn't kept."""

from __future__ import annotations

from segpipe.errors import SlideChanged
from segpipe.stages.describing import describe
from segpipe.stages.finished import (
    Done,
    done_path,
    has_report,
    read_row,
    standing_row,
    with_path,
    write_done,
)
from segpipe.stages.grounds import content_of, signature_of
from segpipe.stages.keeping import arrays_of, dropped_stages
from segpipe.stages.outputs import naming_full_disk
from segpipe.stages.picturing import write_report
from segpipe.stages.plan import Grounds, Plan
from segpipe.stages.quarantine import release
from segpipe.stages.repairing import reopening_damaged
from segpipe.stages.stored import NUCLEI_0, ledger_of, store_of
from segpipe.stores.durable import remove, write_text
from segpipe.stores.layout import Layout
from segpipe.tables.slides import SlideRow


def begin(plan: Plan) -> None:
    """Take back the row of an earlier result, before what it vouches for is changed.

    The table of another result goes with it: if this run fails, it would be read with
    the tables that came of the new settings. The row, which tells, goes last. Receipts
    for a label map that is gone go too.
    """
    ledger = ledger_of(plan)
    row = read_row(ledger)
    with ledger.hold().writing():
        remove(done_path(ledger))
        if row is not None and row.result_key != plan.result_key:
            remove(ledger.layout.table(plan.slide.id))
        if not (ledger.layout.store(plan.slide.id) / NUCLEI_0).exists():
            ledger.forget("stitch")
        remove(ledger.row_path)


def publish(plan: Plan) -> SlideRow:
    """Write the report and the row of a slide whose table stands; drop the rest.

    The row is the last thing written before anything is dropped: with it the slide is
    done, without it the next run goes on. That nothing is left to do is noted last.

    Raises
    ------
    SlideChanged
        If the slide is another than the one that was planned.
    """
    ledger = ledger_of(plan)
    with ledger.hold().writing():
        with naming_full_disk(plan.out), reopening_damaged(plan):
            row = describe(plan)
            if plan.settings.report:
                write_report(plan, row)
        grounds = _confirmed(plan)  # the report reads the slide too
        write_text(ledger.row_path, row.to_json())
        tidy(plan)
        write_done(ledger, Done(result_key=row.result_key, grounds=grounds))
    return row


def already_done(plan: Plan) -> SlideRow | None:
    """Return the row of an earlier run that came to this plan's result, if any.

    What that run was to keep must be there too. A damaged row is none. A report that is
    asked for now and isn't there is written.
    """
    ledger = ledger_of(plan)
    row = standing_row(ledger, plan.result_key, plan.settings.keep)
    if row is None:
        return None
    with ledger.hold().writing():
        row = with_path(ledger, row, plan.slide.path)
        if plan.settings.report and not has_report(ledger.layout, plan.slide.id):
            write_report(plan, row)
        tidy(plan)
        write_done(ledger, Done(result_key=row.result_key, grounds=plan.grounds))
    return row


def _confirmed(plan: Plan) -> Grounds:
    """Return what the result rests on, with the slide's files as they look now.

    A slide that is gone now was there while it was read.
    """
    signature = signature_of(plan.slide, plan.settings)
    if signature in {plan.grounds.signature, ""}:
        return plan.grounds
    content = content_of(plan.slide, plan.settings)
    if content != plan.grounds.content:
        message = (
            f"{plan.slide.path} was replaced or changed while it was segmented, so its "
            "nuclei may be of two slides. Run again when it is copied to the end."
        )
        raise SlideChanged(message)
    return plan.grounds.model_copy(update={"signature": signature})


def tidy(plan: Plan) -> None:
    """Drop scratch arrays and the intermediate arrays that aren't kept.

    Before the arrays go the receipts that vouch for them.
    """
    layout, ledger = Layout(plan.out), ledger_of(plan)
    stages = dropped_stages(plan.settings.keep)
    for stage in stages:
        ledger.forget(stage)
    for stage in stages:
        for array in arrays_of(stage, layout, plan.slide.id):
            remove(array)
    if "tile" in stages:
        store_of(plan).forget_image()
    release(layout, plan.slide.id)
