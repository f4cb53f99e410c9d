"""The two ways ``segpipe run`` runs: by Prefect and Dask, or all in this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.inputs import Inputs, read_inputs
from segpipe.config import Settings, SlideRef
from segpipe.errors import SettingsError
from segpipe.stages.events import Event
from segpipe.stages.finished import Asked
from segpipe.stages.known import KnownSlides
from segpipe.stages.outputs import prepare_out
from segpipe.stages.planning import plan_slide
from segpipe.stages.slide import segment_slide as segment_in_process
from segpipe.stores.layout import Layout
from segpipe.tables.slides import SlideRow
from tasks.cataloguing import cataloguing
from tasks.listening import tell
from tasks.outcomes import Outcome, segment_each, sift
from tasks.quarantining import naming_stage, quarantining


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What ``segpipe run`` was asked for."""

    inputs: Sequence[Path]
    """Slides, folders, manifests."""
    out: Path
    """Result folder."""
    settings: Settings
    """Choices."""
    serial: bool = False
    """In this process, without Prefect and Dask."""
    retry_quarantined: bool = False
    """Also slides that were quarantined and haven't changed."""

    def read(self) -> Inputs:
        """Return the slides that are asked for.

        Raises
        ------
        SettingsError
            If there is one tissue mask for several slides.
        SlideNotFound
            If a folder has no slide in it.
        """
        asked = Asked.of(self.settings, Layout(self.out.resolve()))
        inputs = read_inputs(self.inputs, KnownSlides(asked=asked))
        inputs.refuse_empty()
        if self.settings.tissue_mask is not None and len(inputs.slides) > 1:
            message = (
                f"--tissue-mask {self.settings.tissue_mask} is of one slide, and there "
                f"are {len(inputs.slides)}. Use a manifest with a column tissue_mask."
            )
            raise SettingsError(message)
        return inputs


def run(request: Request, inputs: Inputs) -> list[Outcome]:
    """Segment what was asked for, and return what became of each slide.

    Raises
    ------
    SegpipeError, OSError
        By what is no single slide's fault.
    """
    layout = prepare_out(request.out)
    with cataloguing(layout):
        asked = Asked.of(request.settings, layout)
        retry = request.retry_quarantined
        sifted = sift(inputs.slides, asked, retry_quarantined=retry)
        if sifted.todo and inputs.is_cohort and not request.serial:
            return _cohort_by_flow(request, layout)
        segment = _segment_in_process if request.serial else _segment_by_flow
        return segment_each(segment, sifted, asked, tell)


def _segment_in_process(slide: SlideRef, settings: Settings, out: Path) -> SlideRow:
    stages = ["plan"]

    def listen(event: Event) -> None:
        stages.append(event.stage)
        tell(event)

    with quarantining(slide, out, settings), naming_stage(lambda: stages[-1]):
        return segment_in_process(slide, out, settings, listener=listen)


def _segment_by_flow(slide: SlideRef, settings: Settings, out: Path) -> SlideRow:
    """Segment a slide by its flow; refusals are said while the API comes up."""
    with _quiet_prefect_api() as wait_for_api:
        with quarantining(slide, out, settings):
            plan_slide(slide, settings, out)
        from flows.segment_slide import segment_slide  # noqa: PLC0415 - Prefect, Dask
        from tasks.clusters import workers  # noqa: PLC0415

        with workers(settings):
            wait_for_api()
            return segment_slide(slide, settings, out)


def _cohort_by_flow(request: Request, layout: Layout) -> list[Outcome]:
    with _quiet_prefect_api() as wait_for_api:
        from flows.segment_cohort import segment_cohort  # noqa: PLC0415 - Prefect, Dask
        from tasks.clusters import workers  # noqa: PLC0415

        with workers(request.settings):
            wait_for_api()
            inputs = [path.absolute() for path in request.inputs]
            outcomes: Any = segment_cohort(
                inputs,
                layout.out,
                request.settings,
                retry_quarantined=request.retry_quarantined,
            )
            return list(outcomes)


def _quiet_prefect_api() -> AbstractContextManager[Callable[[], None]]:
    """Have an API, and leave the terminal to the progress bars and the summary."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
    logging.raiseExceptions = False  # a log line that isn't sent is no one's concern
    from tasks.embedded_server import prefect_api  # noqa: PLC0415 - Prefect

    return prefect_api()
