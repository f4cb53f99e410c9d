"""What a run tells whoever listens: progress bars, logs, artifacts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segpipe.stores.ledger import Receipt


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins, some of it perhaps done by an earlier run."""

    slide_id: str
    stage: str
    n_units: int
    n_done: int


@dataclass(frozen=True, slots=True)
class BatchDone:
    """Some units of a stage are written."""

    slide_id: str
    stage: str
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=False)
class StageDone:
    """A stage has ended, or was found ended (``resumed``)."""

    slide_id: str
    stage: str
    n_units: int
    seconds: float
    resumed: bool


Event = StageStarted | BatchDone | StageDone
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""
