"""The pictures and the page of a finished slide."""

from __future__ import annotations

from segpipe.stages.plan import Plan
from segpipe.tables.slides import SlideRow


def write_report(plan: Plan, row: SlideRow) -> None:
    """Write the overlay picture and the page."""
