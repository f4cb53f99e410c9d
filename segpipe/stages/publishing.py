"""The end of a slide: its row, its report, and nothing left that isn't kept."""

from __future__ import annotations

import shutil

from segpipe.stages.describing import describe
from segpipe.stages.outputs import release
from segpipe.stages.picturing import write_report
from segpipe.stages.plan import Plan
from segpipe.stages.stored import IMAGE, MAPS, ledger_of, store_of
from segpipe.stores.durable import write_text
from segpipe.stores.layout import Layout
from segpipe.tables.slides import SlideRow


def publish(plan: Plan) -> SlideRow:
    """Write the report and the row of a slide whose table stands; drop the rest.

    The row is the last thing written before anything is dropped: with it the slide is
    done, without it the next run goes on.
    """
    row = describe(plan)
    if plan.settings.report:
        write_report(plan, row)
    write_text(ledger_of(plan).row_path, row.to_json())
    tidy(plan)
    return row


def already_done(plan: Plan) -> SlideRow | None:
    """Return the row of an earlier run that came to this plan's result, if any.

    What that run was to keep must be there too.
    """
    path = ledger_of(plan).row_path
    if not path.exists() or not Layout(plan.out).table(plan.slide.id).exists():
        return None
    row = SlideRow.from_json(path.read_text())
    store = store_of(plan)
    wanted = {"image": IMAGE, "maps": MAPS}
    kept = all((store.root / wanted[name]).exists() for name in plan.settings.keep)
    if row.result_key != plan.result_key or not kept:
        return None
    tidy(plan)
    return row


def tidy(plan: Plan) -> None:
    """Drop scratch arrays and the intermediate arrays that aren't kept.

    With the arrays go the receipts that vouch for them.
    """
    layout, ledger, store = Layout(plan.out), ledger_of(plan), store_of(plan)
    for scratch in (layout.scratch, layout.parts, layout.instances):
        shutil.rmtree(scratch(plan.slide.id), ignore_errors=True)
    for stage in ("label", "stitch", "measure"):
        ledger.forget(stage)
    if "maps" not in plan.settings.keep:
        ledger.forget("predict")
        store.drop(MAPS)
    if "image" not in plan.settings.keep:
        ledger.forget("tile")
        store.drop(IMAGE)
        store.forget_image()
    release(layout, plan.slide.id)
