"""Whether a slide is still the one that was planned, asked as its pixels are read."""

from __future__ import annotations

from segpipe.errors import SlideChanged
from segpipe.slides import slide_fingerprint, stat_signature
from segpipe.stages.plan import Plan


def check_unchanged(plan: Plan) -> None:
    """Refuse a slide that was replaced since it was planned.

    Called after its pixels were read and before anything vouches for them. Its content
    is looked at only if its files' sizes and times have changed.

    Raises
    ------
    SlideChanged
        If its content is another.
    SlideNotFound, SlideNotReadable
        If it is gone.
    """
    beside = () if plan.tissue_given is None else (plan.tissue_given,)
    if stat_signature(plan.slide.path, *beside) == plan.grounds.signature:
        return
    found = slide_fingerprint(plan.slide.path)
    if found != plan.fingerprint:
        message = (
            f"{plan.slide.path} was replaced or changed while it was read: it was "
            f"planned as {plan.fingerprint[:12]} and is now {found[:12]}. What was "
            "read since isn't kept. Run again when it is copied to the end."
        )
        raise SlideChanged(message)
