"""Many slides, each by its own flow run; those that fail don't stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.inputs import read_inputs
from flows.segment_slide import segment_slide
from segpipe.config import Settings, SlideRef
from segpipe.stages.finished import Asked
from segpipe.stages.known import KnownSlides
from segpipe.stages.outputs import prepare_out
from segpipe.tables.slides import SlideRow
from tasks import policy
from tasks.cataloguing import cataloguing
from tasks.claiming import claiming
from tasks.clusters import workers
from tasks.listening import tell
from tasks.outcomes import Outcome, segment_each, sift, with_status
from tasks.watching import watched_cohort

NAMED = 5
"""Slides named in the message of a final state."""


@flow(name="segment-cohort", flow_run_name="{out}", **policy.FLOW)
def segment_cohort(
    inputs: list[Path],
    out: Path,
    settings: Settings | None = None,
    *,
    retry_quarantined: bool = False,
) -> State[Any]:
    """Find every nucleus of every slide in folders, manifests and files.

    Slides that are done already cost a look, and workers are started for the first
    that isn't. A slide that fails is quarantined with its reason and the others go on;
    the final state says so. It is passed over by later runs until it or the settings
    change. The run itself fails by what every slide would meet (a lost cluster, a full
    disk, wrong settings), or past ``max_quarantined`` slides that fail.
    """
    chosen = settings or Settings()
    layout = prepare_out(out)
    with claiming(layout), cataloguing(layout), ExitStack() as until_the_end:
        asked = Asked.of(chosen, layout)
        slides = read_inputs(inputs, KnownSlides(asked=asked)).slides
        until_the_end.enter_context(watched_cohort(len(slides), out, chosen))
        sifted = sift(slides, asked, retry_quarantined=retry_quarantined)
        if sifted.todo and chosen.slides_at_once > 1:
            until_the_end.enter_context(workers(chosen))  # before there are threads

        def segment(slide: SlideRef, settings: Settings, out: Path) -> SlideRow:
            until_the_end.enter_context(workers(settings))  # once; later it is the same
            return segment_slide(slide, settings, out)

        outcomes = segment_each(segment, sifted, asked, tell)
    return final_state(outcomes)


def final_state(outcomes: Sequence[Outcome]) -> State[Any]:
    """Return how a cohort truly ended, with its outcomes as the result.

    A slide that another run works on is no failure: that run ends with it.
    """
    failed, busy = (with_status(outcomes, each) for each in ("quarantined", "busy"))
    elsewhere = f", {len(busy)} of them busy in another run" if busy else ""
    if not failed:
        message = f"{len(outcomes)} slides{elsewhere}"
        return Completed(message=message, data=list(outcomes))
    names = ", ".join(outcome.slide.id for outcome in failed[:NAMED])
    more = ", ..." if len(failed) > NAMED else ""
    n_passed = sum(outcome.is_passed_over for outcome in failed)
    passed = f" ({n_passed} passed over, as before)" if n_passed else ""
    return Completed(
        name="CompletedWithQuarantine",
        message=f"{len(failed)} of {len(outcomes)} slides quarantined{passed}: "
        f"{names}{more}{elsewhere}",
        data=list(outcomes),
    )
