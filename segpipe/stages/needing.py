"""Which stages have to run: those whose results are missing where they are needed."""

from __future__ import annotations

from collections.abc import Collection

NEEDED_BY = {
    "measure": (),
    "stitch": ("measure",),
    "label": ("stitch",),
    "predict": ("label", "measure"),
    "tile": ("predict", "measure"),
}
"""Who reads what a stage writes; a stage stands after those that need it."""


def to_run(closed: Collection[str]) -> frozenset[str]:
    """Return the stages that have to run for the table.

    Parameters
    ----------
    closed
        Stages whose results stand, by the keys that are wanted now.

    Notes
    -----
    A stage that is not closed runs only if one that needs it does. So a finished slide
    whose label map is kept and whose tile labels are not is measured anew without
    labelling it again.
    """
    running: set[str] = set()
    for stage, users in NEEDED_BY.items():
        if stage not in closed and (not users or not running.isdisjoint(users)):
            running.add(stage)
    return frozenset(running)
