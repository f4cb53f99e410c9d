"""Which way a plan's network says what it says: the one place where stages part.

In memory networks part in ``segpipe.networks._answers``.
"""

from __future__ import annotations

from segpipe.stages import detections, maps
from segpipe.stages._answers import Answers, Labelled
from segpipe.stages.plan import Plan

__all__ = ["Answers", "Labelled", "answers_of", "too_large"]


def answers_of(plan: Plan) -> Answers:
    """Return how the answers of a plan's network are written and read."""
    return detections.ANSWERS if plan.network.detects else maps.ANSWERS


def too_large(plan: Plan) -> int | None:
    """Count nuclei dropped for their size; None if the network draws no such line."""
    return detections.count_too_large(plan) if plan.network.detects else None
