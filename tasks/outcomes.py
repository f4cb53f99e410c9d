"""What became of each slide of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segpipe.config import Settings, SlideRef
from segpipe.errors import OutputNotOurs, PlanRefused, SlideError
from segpipe.stages.planning import plan_slide
from segpipe.stages.publishing import already_done
from segpipe.stages.stored import ledger_of
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import SlideRow
from tasks.faults import blames_the_slide

Status = Literal["done", "unchanged", "quarantined", "busy"]
Segment = Callable[[SlideRef, Settings, Path], SlideRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a slide."""

    slide: SlideRef
    """The slide."""
    status: Status
    """Done now; done before and unchanged; quarantined; busy in another run."""
    row: SlideRow | None = None
    """Its row, if it has a table."""
    error: Exception | None = None
    """Why it has none."""


def attempt(
    segment: Segment, slide: SlideRef, settings: Settings, out: Path
) -> Outcome:
    """Segment a slide unless it is done; an error that is its own doesn't get out.

    Raises
    ------
    Exception
        If other slides of the run would fail in the same way.
    """
    try:
        if (row := finished(slide, settings, out)) is not None:
            return Outcome(slide=slide, status="unchanged", row=row)
        row = segment(slide, settings, out)
    except OutputNotOurs as error:
        return Outcome(slide=slide, status="busy", error=error)
    except Exception as error:
        if not blames_the_slide(error):
            raise
        return Outcome(slide=slide, status="quarantined", error=error)
    return Outcome(slide=slide, status="done", row=row)


def finished(slide: SlideRef, settings: Settings, out: Path) -> SlideRow | None:
    """Return the row of an earlier run that came to the same result, if there is one.

    Cheap for a slide that no run has finished: it is looked at only if it has a row.
    One that can't be planned any more isn't finished; segmenting it will say why.
    """
    if not Ledger(Layout(out.resolve()), slide.id).row_path.exists():
        return None
    try:
        plan = plan_slide(slide, settings, out)
    except (SlideError, PlanRefused):
        return None
    with ledger_of(plan).held():
        return already_done(plan)


def with_status(outcomes: Sequence[Outcome], *statuses: Status) -> list[Outcome]:
    """Return the outcomes of these statuses."""
    return [outcome for outcome in outcomes if outcome.status in statuses]
