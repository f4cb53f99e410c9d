"""Slides that can't be done: why, and what that rests on."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from segpipe.config import SlideRef
from segpipe.stages.plan import Grounds
from segpipe.stores.durable import write_text
from segpipe.stores.layout import Layout


class Quarantine(BaseModel):
    """The record of a slide that can't be done, ``quarantine/<slide_id>.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    slide_id: str
    """Name of the slide in every output."""
    path: str
    """Where it was read."""
    reason: str
    """Why it can't be done, in one line."""
    error: str
    """Class of the error."""
    stage: str
    """Stage in which it arose."""
    traceback: str = ""
    """Where it arose."""
    time: str = ""
    """When, in UTC, by ISO 8601."""
    n_attempts: int = 1
    """How often the slide was tried since it was last done."""
    grounds: Grounds | None = None
    """What the failure rests on; None if it may pass without a change of these."""

    @classmethod
    def of(
        cls,
        slide: SlideRef,
        error: BaseException,
        *,
        stage: str,
        grounds: Grounds | None,
        n_attempts: int = 1,
    ) -> Self:
        """Return the record of an error that arose now."""
        return cls(
            slide_id=slide.id,
            path=str(slide.path.resolve()),
            reason=reason_of(error),
            error=type(error).__name__,
            stage=stage,
            traceback="".join(traceback.format_exception(error)),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            n_attempts=n_attempts,
            grounds=grounds,
        )

    @classmethod
    def read(cls, layout: Layout, slide_id: str) -> Self | None:
        """Return a slide's record; None if there is none, or a damaged one."""
        try:
            return cls.model_validate_json(layout.quarantine(slide_id).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, layout: Layout) -> None:
        """Write the record durably."""
        write_text(layout.quarantine(self.slide_id), self.model_dump_json(indent=1))


def release(layout: Layout, slide_id: str) -> None:
    """Take back a slide's quarantine, because it succeeded."""
    layout.quarantine(slide_id).unlink(missing_ok=True)


def reason_of(error: BaseException) -> str:
    """Say an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
