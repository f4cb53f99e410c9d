"""A slide that fails is written down with its reason, and the error goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segpipe.config import SlideRef
from segpipe.stages.outputs import quarantine
from segpipe.stores.layout import Layout
from tasks.faults import blames_the_slide

STAGE_NOTE = "segpipe stage: "
"""Beginning of the note (PEP 678) that says in which stage an error arose."""


@contextmanager
def quarantining(slide: SlideRef, out: Path) -> Iterator[None]:
    """Quarantine the slide if what is inside fails by its fault; raise in any case."""
    try:
        yield
    except Exception as error:
        if blames_the_slide(error):
            quarantine(Layout(out.resolve()), slide, error, stage_of(error))
        raise


@contextmanager
def naming_stage(name: Callable[[], str]) -> Iterator[None]:
    """Note the stage, as it is called then, on an error that arises inside."""
    try:
        yield
    except Exception as error:
        error.add_note(STAGE_NOTE + name())
        raise


def stage_of(error: BaseException) -> str:
    """Return the stage in which an error arose; without a note that is the plan."""
    notes = getattr(error, "__notes__", [])
    named = (note.removeprefix(STAGE_NOTE) for note in notes if STAGE_NOTE in note)
    return next(named, "plan")


def reason_of(error: BaseException) -> str:
    """Say an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
