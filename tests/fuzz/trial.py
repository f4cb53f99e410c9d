"""What is done to each damaged slide: planned, then read, as a run would."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from segpipe.config import Settings, SlideRef
from segpipe.errors import MppMissing, PlanRefused
from segpipe.geometry import Box
from segpipe.slides import open_slide
from segpipe.stages.canvas import read_canvas
from segpipe.stages.plan import Plan
from segpipe.stages.planning import plan_slide

MOST_WINDOWS = 6
"""Windows read of a slide that could be planned."""
BOX_PX = 300
"""Side of the boxes read of a slide that could only be opened."""
MOST_LEVELS = 8
MPP = 0.25
SETTINGS = Settings(device="cpu", workers=1)


def read_like_a_run(path: Path) -> None:
    """Plan a slide and read windows of it as the tile stage does.

    Where the plan is refused though the slide opens (no tissue, no resolution), corners
    of its levels are read instead, so that damage in the pixels is met all the same.

    Raises
    ------
    SegpipeError
        If the slide or its plan is refused.
    """
    try:
        plan = _planned(path)
    except PlanRefused:
        _read_corners(path)
        raise
    _read_windows(plan)


def _planned(path: Path) -> Plan:
    """Plan as a user would: one whose slide lacks a resolution passes it."""
    slide, out = SlideRef(id="mutated", path=path), path.parent / "out"
    try:
        return plan_slide(slide, SETTINGS, out)
    except MppMissing:
        given = slide.model_copy(update={"mpp": MPP})
        return plan_slide(given, SETTINGS, out)


def _read_windows(plan: Plan) -> None:
    with open_slide(plan.slide.path, reader=plan.reader) as opened:
        for window in plan.image_windows[:MOST_WINDOWS]:
            read_canvas(opened, plan.canvas, plan.windows.core(window))


def _read_corners(path: Path) -> None:
    with open_slide(path) as opened:
        for number, level in enumerate(opened.levels[:MOST_LEVELS]):
            height, width = level.shape
            for y, x in product((0, height - BOX_PX), (0, width - BOX_PX)):
                opened.read(Box(y, x, y + BOX_PX, x + BOX_PX), number)
