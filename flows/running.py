"""The two ways ``segpipe run`` runs: by Prefect and Dask, or all in this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.inputs import Inputs, read_inputs
from segpipe.config import Settings, SlideRef
from segpipe.errors import SettingsError
from segpipe.stages.catalog import write_catalog
from segpipe.stages.outputs import prepare_out
from segpipe.stages.planning import plan_slide
from segpipe.stages.slide import segment_slide as segment_in_process
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import SlideRow
from tasks.listening import tell
from tasks.outcomes import Outcome, attempt, finished
from tasks.quarantining import quarantining


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

    def read(self) -> Inputs:
        """Return the slides that are asked for.

        Raises
        ------
        SettingsError
            If there is one tissue mask for several slides.
        """
        inputs = read_inputs(self.inputs)
        if self.settings.tissue_mask is not None and len(inputs.slides) > 1:
            message = (
                f"--tissue-mask {self.settings.tissue_mask} is of one slide, and there "
                f"are {len(inputs.slides)}. Name masks in a manifest, column tissue_mask."
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
    outcomes = _nothing_to_do(request, inputs, layout)
    if outcomes is None:
        if request.serial:
            outcomes = _run_serially(request, inputs, layout)
        else:
            outcomes = _run_by_prefect(request, inputs, layout)
    write_catalog(layout)
    return outcomes


def _nothing_to_do(
    request: Request, inputs: Inputs, layout: Layout
) -> list[Outcome] | None:
    """Return the outcomes if every slide is done already: no server need be started."""
    ledgers = [Ledger(layout, slide.id) for slide in inputs.slides]
    if not all(ledger.row_path.exists() for ledger in ledgers):
        return None
    outcomes: list[Outcome] = []
    for slide in inputs.slides:
        outcome = attempt(_refuse_to_run, slide, request.settings, layout.out)
        if outcome.status != "unchanged":
            return None
        outcomes.append(outcome)
    for outcome in outcomes:
        tell(outcome)
    return outcomes


def _refuse_to_run(slide: SlideRef, settings: Settings, out: Path) -> SlideRow:
    raise NotImplementedError


def _run_serially(request: Request, inputs: Inputs, layout: Layout) -> list[Outcome]:
    outcomes = []
    for slide in inputs.slides:
        outcome = attempt(_segment_serially, slide, request.settings, layout.out)
        tell(outcome)
        outcomes.append(outcome)
    return outcomes


def _segment_serially(slide: SlideRef, settings: Settings, out: Path) -> SlideRow:
    with quarantining(slide, out):
        return segment_in_process(slide, out, settings, listener=tell)
