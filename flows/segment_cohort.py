"""Many slides, each by its own flow run; those that fail don't stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.inputs import read_inputs
from flows.segment_slide import segment_slide
from segpipe.config import Settings
from segpipe.stages.outputs import prepare_out
from tasks import policy
from tasks.cataloguing import cataloguing
from tasks.clusters import workers
from tasks.listening import tell
from tasks.outcomes import Outcome, attempt, with_status

NAMED = 5
"""Slides named in the message of a final state."""


@flow(name="segment-cohort", flow_run_name="{out}", **policy.FLOW)
def segment_cohort(
    inputs: list[Path], out: Path, settings: Settings | None = None
) -> State[Any]:
    """Find every nucleus of every slide in folders, manifests and files.

    Slides that are done already cost a look. A slide that fails is quarantined with its
    reason and the others go on; the final state says so. The run itself fails only by
    what every slide would meet: a lost cluster, a full disk, wrong settings.
    """
    chosen = settings or Settings()
    layout = prepare_out(out)
    outcomes: list[Outcome] = []
    with cataloguing(layout), workers(chosen):
        for slide in read_inputs(inputs).slides:
            outcome = attempt(segment_slide, slide, chosen, layout.out)
            outcomes.append(outcome)
            tell(outcome)
    return final_state(outcomes)


def final_state(outcomes: Sequence[Outcome]) -> State[Any]:
    """Return how a cohort truly ended, with its outcomes as the result."""
    failed = with_status(outcomes, "quarantined", "busy")
    if not failed:
        return Completed(message=f"{len(outcomes)} slides", data=list(outcomes))
    names = ", ".join(outcome.slide.id for outcome in failed[:NAMED])
    more = ", ..." if len(failed) > NAMED else ""
    return Completed(
        name="CompletedWithQuarantine",
        message=f"{len(failed)} of {len(outcomes)} slides not done: {names}{more}",
        data=list(outcomes),
    )
