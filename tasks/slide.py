"""The steps of a slide as Prefect tasks: one each for plan, stages and publishing."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import task
from prefect.utilities.annotations import quote

from segpipe.config import Settings, SlideRef
from segpipe.stages import (
    labelling,
    measuring,
    planning,
    predicting,
    publishing,
    stitching,
    tiling,
)
from segpipe.stages._stage import Stage, run_stage
from segpipe.stages.plan import Plan
from segpipe.stages.slide import planned
from segpipe.tables.slides import SlideRow
from tasks import policy
from tasks.clusters import current_cluster
from tasks.flight import Patience
from tasks.listening import tell
from tasks.mapping import dask_map
from tasks.quarantining import naming_stage
from tasks.witness import Reporter

PATIENCE = Patience(stall_s=float(os.environ.get("SEGPIPE_STALL_S", "1800")))
"""With the workers; the variable is for tests and for very large tiles."""


@task(task_run_name="plan {slide.id}", **policy.STAGE)
def plan_slide(slide: SlideRef, settings: Settings, out: Path) -> quote:
    """Decide everything about a slide; every refusal is here.

    The plan comes quoted, or Prefect would look for futures among its thousands of
    window numbers: a third of a second for each task that gets it.
    """
    return quote(planning.plan_slide(slide, settings, out))


@task(task_run_name="tile {plan.slide.id}", **policy.STAGE)
def tile_slide(plan: Plan) -> None:
    """Read the tissue at the network's resolution."""
    tell(planned(plan))
    _run(tiling.STAGE, plan)


@task(task_run_name="predict {plan.slide.id}", **policy.STAGE)
def predict_maps(plan: Plan) -> None:
    """Run the network over every window with tissue."""
    _run(predicting.STAGE, plan)


@task(task_run_name="label {plan.slide.id}", **policy.STAGE)
def label_tiles(plan: Plan) -> None:
    """Decode the maps to instances, tile by tile."""
    _run(labelling.STAGE, plan)


@task(task_run_name="stitch {plan.slide.id}", **policy.STAGE)
def stitch_nuclei(plan: Plan) -> None:
    """Make nuclei of the tiles' instances."""
    _run(stitching.STAGE, plan)


@task(task_run_name="measure {plan.slide.id}", **policy.STAGE)
def measure_nuclei(plan: Plan) -> None:
    """Measure every nucleus and write the table."""
    _run(measuring.STAGE, plan)


@task(task_run_name="publish {plan.slide.id}", **policy.STAGE)
def publish_slide(plan: Plan) -> SlideRow:
    """Write report and row, and drop what isn't kept."""
    with naming_stage(lambda: "publish"):
        return publishing.publish(plan)


def _run(stage: Stage, plan: Plan) -> None:
    """Run a stage on the workers at hand; what the ledger has is skipped."""
    name = f"{stage.name} {plan.slide.id}"
    on_gpu = stage.on_device and plan.device != "cpu"
    resources = {"GPU": 1.0} if on_gpu else None
    reporter = Reporter(slide_id=plan.slide.id, stage=stage.name, listener=tell)
    with (
        naming_stage(lambda: stage.name),
        dask_map(
            current_cluster(),
            name=name,
            resources=resources,
            patience=PATIENCE,
            witness=reporter,
        ) as map_,
    ):
        run_stage(stage, plan, map_=map_, listener=reporter.hear)
