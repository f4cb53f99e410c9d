"""A slide that fails is written down with its reason, and the error goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segpipe import errors
from segpipe.config import Settings, SlideRef
from segpipe.errors import (
    BudgetExceeded,
    SegpipeError,
    SlideChanged,
    SlideNotReadable,
    StageStalled,
    StoreDamaged,
)
from segpipe.stages.finished import Asked
from segpipe.stages.grounds import content_of, signature_of
from segpipe.stages.plan import Grounds
from segpipe.stages.quarantine import Quarantine
from segpipe.stores.layout import Layout
from tasks.faults import blames_the_slide, is_transient

STAGE_NOTE = "segpipe stage: "
"""Beginning of the note (PEP 678) that says in which stage an error arose."""
OF_THE_MOMENT = (
    BudgetExceeded,  # memory or disk that others used
    SlideChanged,
    SlideNotReadable,  # a share that wasn't there; a permission since granted
    StageStalled,
    StoreDamaged,  # what is damaged has been taken back, and is made again
)
"""Errors that need not come again though neither slide nor settings change."""


@contextmanager
def quarantining(
    slide: SlideRef, out: Path, settings: Settings | None = None
) -> Iterator[None]:
    """Quarantine the slide if what is inside fails by its fault; raise in any case."""
    chosen = settings or Settings()
    signature = signature_of(slide, chosen)
    try:
        yield
    except Exception as error:
        if blames_the_slide(error):
            layout = Layout(out.resolve())
            asked = Asked.of(chosen, layout)
            before = Quarantine.read(layout, slide.id)
            Quarantine.of(
                slide,
                error,
                stage=stage_of(error),
                grounds=_grounds(slide, asked, signature)
                if is_lasting(error)
                else None,
                n_attempts=1 if before is None else before.n_attempts + 1,
            ).write(layout)
        raise


def is_lasting(error: BaseException) -> bool:
    """Whether a slide fails with this error until something of it changes.

    What a hiccup of a disk or of the network may be behind isn't lasting, also if a
    reader took it for damage.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None and is_transient(seen):
            return False
        seen = seen.__cause__ or seen.__context__
    return not isinstance(error, OF_THE_MOMENT)


def recalled(record: Quarantine) -> Exception:
    """Return an error of the class, the reason and the stage that a record names."""
    kind = getattr(errors, record.error, None)
    if not (isinstance(kind, type) and issubclass(kind, SegpipeError)):
        kind = type(record.error, (SegpipeError,), {})
    error: SegpipeError = kind(record.reason)
    error.add_note(STAGE_NOTE + record.stage)
    return error


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


def _grounds(slide: SlideRef, asked: Asked, signature: str) -> Grounds:
    """Return what a failure rests on, given how the slide looked before.

    If it looks other now, the content that failed is gone.
    """
    now = asked.grounds(slide, of_work=True)
    is_same = now.signature == signature
    content = content_of(slide, asked.settings) if is_same else ""
    return now.model_copy(update={"signature": signature, "content": content})
