"""What became of each slide of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

from segpipe.config import Settings, SlideRef
from segpipe.errors import OutputNotOurs, PlanRefused, SlideError
from segpipe.stages.finished import Asked, finished_row, passed_over
from segpipe.stages.planning import plan_slide
from segpipe.stages.publishing import already_done
from segpipe.stages.quarantine import reason_of
from segpipe.stages.stored import ledger_of
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import SlideRow
from tasks.faults import TooManyQuarantined, blames_the_slide
from tasks.quarantining import recalled
from tasks.side_by_side import side_by_side

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
    is_passed_over: bool = False
    """Whether an earlier run quarantined it and it wasn't tried, being unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """The slides of a run, those told apart that need nothing done."""

    slides: tuple[SlideRef, ...]
    """All, in order."""
    known: dict[str, Outcome]
    """What became of some in earlier runs, and would become of them again, by id."""

    @property
    def todo(self) -> list[SlideRef]:
        """Return those that must be looked at, in order."""
        return [slide for slide in self.slides if slide.id not in self.known]


def sift(
    slides: Sequence[SlideRef], asked: Asked, *, retry_quarantined: bool = False
) -> Sifted:
    """Tell slides that are finished, or quarantined and unchanged, from the others.

    Costs less than a millisecond a slide: none is opened or planned.
    """
    known: dict[str, Outcome] = {}
    for slide in slides:
        if (row := finished_row(slide, asked)) is not None:
            known[slide.id] = Outcome(slide=slide, status="unchanged", row=row)
        elif retry_quarantined:
            continue
        elif (record := passed_over(slide, asked)) is not None:
            known[slide.id] = Outcome(
                slide=slide,
                status="quarantined",
                error=recalled(record),
                is_passed_over=True,
            )
    return Sifted(slides=tuple(slides), known=known)


def segment_each(
    segment: Segment, sifted: Sifted, asked: Asked, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Segment the slides that are left to do, and return what became of every one.

    As many are under way together as the settings say.

    Parameters
    ----------
    segment
        Segments one slide.
    sifted
        The slides.
    asked
        What the run asks of them.
    tell
        Told of each outcome as soon as it is known.

    Raises
    ------
    TooManyQuarantined
        If more fail than ``max_quarantined`` allows; the rest isn't tried.
    Exception
        What every slide would meet.
    """
    outcomes = dict(sifted.known)
    for outcome in sifted.known.values():
        tell(outcome)
    todo = sifted.todo
    most = most_quarantined(asked.settings.max_quarantined, len(todo))
    tried: list[Outcome] = []
    one = partial(attempt, segment, settings=asked.settings, out=asked.layout.out)
    with closing(
        side_by_side(one, todo, at_once=asked.settings.slides_at_once)
    ) as ended:
        for outcome in ended:
            tell(outcome)
            outcomes[outcome.slide.id] = outcome
            tried.append(outcome)
            if len(failed := with_status(tried, "quarantined")) > most:
                allowed = asked.settings.max_quarantined
                raise TooManyQuarantined(
                    _too_many(failed, len(tried), len(todo), allowed)
                )
    return [outcomes[slide.id] for slide in sifted.slides]


def most_quarantined(allowed: str, n_slides: int) -> int:
    """Return how many of the slides to be tried may fail: a number or a share."""
    if not allowed.endswith("%"):
        return int(allowed)
    return int(Fraction(allowed.removesuffix("%")) / 100 * n_slides)


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
    """Plan a slide, and return the row of an earlier run that came to the same result.

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


def _too_many(
    failed: Sequence[Outcome], n_tried: int, n_todo: int, allowed: str
) -> str:
    """Say that a run is stopped because of its slides, and what was found."""
    kinds = Counter(type(outcome.error).__name__ for outcome in failed)
    found = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(3))
    last = failed[-1]
    reason = reason_of(last.error) if last.error else ""
    return (
        f"{len(failed)} of the {n_tried} slides tried were quarantined; "
        f"max_quarantined = {allowed} of {n_todo} allows "
        f"{most_quarantined(allowed, n_todo)}. That looks like something wrong with "
        f"the run, not with the slides: {found}; the last, {last.slide.id}: {reason} "
        f"{n_todo - n_tried} slides were not tried. Finished slides are kept: mend it "
        "and run again, with --retry-quarantined if neither slides nor settings "
        "changed."
    )
