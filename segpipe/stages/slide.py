"""A slide from its file to its table, in one process, without Prefect and Dask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segpipe.config import Settings, SlideRef
from segpipe.stages._stage import Mapper, run_stage
from segpipe.stages.events import Listener, SlidePlanned, silent
from segpipe.stages.explaining import note_ingredients
from segpipe.stages.naming import slide_id_of
from segpipe.stages.outputs import prepare_out
from segpipe.stages.path import STAGES
from segpipe.stages.plan import Plan
from segpipe.stages.planning import plan_slide
from segpipe.stages.publishing import already_done, begin, publish
from segpipe.stages.stored import ledger_of
from segpipe.stores.durable import write_text
from segpipe.tables.slides import SlideRow


def segment_slide(
    slide: SlideRef | str | Path,
    out: str | Path,
    settings: Settings | None = None,
    *,
    map_: Mapper = map,
    listener: Listener = silent,
) -> SlideRow:
    """Find every nucleus of a slide and write its table.

    Goes on where an earlier run stopped; does nothing if that run finished.

    Parameters
    ----------
    slide
        The slide, or its path.
    out
        Result folder.
    settings
        Choices; the defaults suit H&E at 20x and 40x.
    map_
        Executor of the batches.
    listener
        Told of every step.

    Returns
    -------
    SlideRow
        What is now in ``slides.parquet`` about the slide.

    Raises
    ------
    SegpipeError
        If the slide, the settings or the folder won't do; the message says why.
    """
    slide = slide if isinstance(slide, SlideRef) else _ref(Path(slide))
    layout = prepare_out(Path(out))
    plan = plan_slide(slide, settings or Settings(), layout.out)
    with held(plan):
        row = already_done(plan)
        if row is None:
            begin(plan)
            listener(planned(plan))
            for stage in STAGES:
                run_stage(stage, plan, map_=map_, listener=listener)
            row = publish(plan)
    return row


def planned(plan: Plan) -> SlidePlanned:
    """Say what a slide takes."""
    return SlidePlanned(
        slide_id=plan.slide.id,
        tissue_mm2=plan.tissue_mm2,
        n_units={stage.name: len(stage.units(plan)) for stage in STAGES},
        keys=plan.keys,
        network=plan.network.name,
        device=plan.device,
        worker_bytes=plan.price.worker_bytes,
        disk_bytes=plan.price.disk_bytes,
    )


@contextmanager
def held(plan: Plan) -> Iterator[None]:
    """Hold the slide for this process, with the plan laid where workers find it."""
    ledger = ledger_of(plan)
    with ledger.held() as hold:
        with hold.writing():
            write_text(ledger.plan_path, plan.model_dump_json())
            note_ingredients(plan)
        yield


def _ref(path: Path) -> SlideRef:
    return SlideRef(id=slide_id_of(path), path=path)
