"""Who is told what happens to batches on their way over a cluster."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from segpipe.stages.events import BatchDone, BatchRetried, Event, Listener, WorkersLost


class Witness(Protocol):
    """Sees a flight's batches land, fail, and its workers go."""

    def landed(self, worker: str) -> None:
        """See a batch end well on a worker; its result is yielded next."""

    def failed(self, item: Any, attempt: int, error: Exception) -> None:  # noqa: ANN401
        """See a batch fail that is going to be tried again."""

    def lost(self, workers: Collection[str]) -> None:
        """Miss workers that were there before."""


class Nobody:
    """Sees nothing."""

    def landed(self, worker: str) -> None:
        """Look away."""

    def failed(self, item: Any, attempt: int, error: Exception) -> None:  # noqa: ANN401
        """Look away."""

    def lost(self, workers: Collection[str]) -> None:
        """Look away."""


@dataclass(slots=True, kw_only=True)
class Reporter:
    """Tells a listener of one stage of one slide what it sees."""

    slide_id: str
    stage: str
    listener: Listener
    worker: str = ""
    """Where the last batch landed."""

    def landed(self, worker: str) -> None:
        """Keep the worker for the batch's own event, which `hear` gets next."""
        self.worker = worker

    def failed(self, item: Any, attempt: int, error: Exception) -> None:  # noqa: ANN401
        """Tell of a batch that is tried again."""
        self.listener(
            BatchRetried(
                slide_id=self.slide_id,
                stage=self.stage,
                units=item,
                attempt=attempt,
                error=error,
            )
        )

    def lost(self, workers: Collection[str]) -> None:
        """Tell of workers that are gone."""
        self.listener(
            WorkersLost(
                slide_id=self.slide_id, stage=self.stage, workers=tuple(workers)
            )
        )

    def hear(self, event: Event) -> None:
        """Pass an event of the stage on, with the worker where there is one."""
        if isinstance(event, BatchDone):
            event = BatchDone(event.slide_id, event.stage, event.receipt, self.worker)
        self.listener(event)
