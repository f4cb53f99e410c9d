"""One slide, from its file to its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from segpipe.config import Settings, SlideRef
from segpipe.stages.outputs import prepare_out
from segpipe.stages.publishing import already_done, begin
from segpipe.stages.slide import held
from segpipe.tables.slides import SlideRow
from tasks import policy
from tasks.cataloguing import cataloguing
from tasks.claiming import claiming
from tasks.clusters import workers
from tasks.quarantining import quarantining
from tasks.slide import (
    label_tiles,
    measure_nuclei,
    plan_slide,
    predict_maps,
    publish_slide,
    stitch_nuclei,
    tile_slide,
)
from tasks.watching import watched_slide


@flow(name="segment-slide", flow_run_name="{slide.id}", **policy.FLOW)
def segment_slide(slide: SlideRef, settings: Settings, out: Path) -> SlideRow:
    """Find every nucleus of one slide and write its table.

    Goes on where an earlier run stopped. A slide that fails is quarantined with its
    reason, and its flow run is Failed. A cohort writes the catalog itself, at its end.
    """
    layout = prepare_out(out)
    with (
        watched_slide(slide, settings, out) as ended,
        claiming(layout),
        cataloguing(layout),
        quarantining(slide, out, settings),
    ):
        planned: Any = plan_slide(slide, settings, out)
        plan = planned.unquote()
        with held(plan):
            if (row := already_done(plan)) is not None:
                return ended(row)
            begin(plan)
            with workers(settings):
                tile_slide(planned)
                predict_maps(planned)
                label_tiles(planned)
                stitch_nuclei(planned)
                measure_nuclei(planned)
            return ended(publish_slide(planned))
