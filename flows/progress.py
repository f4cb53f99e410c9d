"""Progress as it is seen: bars in a terminal, plain lines elsewhere, or nothing.

Everything goes to stderr; stdout is for what a run returns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from segpipe.stages.events import BatchDone, Event, StageDone, StageStarted
from tasks.listening import Listener, silent
from tasks.outcomes import Outcome
from tasks.quarantining import reason_of

PLAIN_LINE_S = 10.0
"""Seconds between two plain lines of one stage."""


@contextmanager
def progress(n_slides: int, *, quiet: bool = False) -> Iterator[Listener]:
    """Yield a listener that shows how a run goes on."""
    console = Console(stderr=True)
    if quiet:
        yield silent
    elif console.is_terminal:
        with _bars(console) as bars:
            bars.add_task("starting", total=None)
            yield _Bars(bars=bars, n_slides=n_slides)
    else:
        yield _Lines(n_slides=n_slides)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    )


@dataclass(slots=True, kw_only=True)
class _Bars:
    """A bar for each stage of the slide at hand, and one for the slides."""

    bars: Progress
    n_slides: int
    slides_bar: TaskID | None = None
    slide_id: str = ""
    by_stage: dict[str, TaskID] = field(default_factory=dict)

    def __call__(self, event: Event | Outcome) -> None:
        if isinstance(event, Outcome):
            self._slide_ended(event)
            return
        if event.slide_id != self.slide_id:
            self._next_slide(event.slide_id)
        if isinstance(event, StageStarted):
            self.by_stage[event.stage] = self.bars.add_task(
                event.stage, total=event.n_units, completed=event.n_done
            )
        elif isinstance(event, BatchDone) and event.stage in self.by_stage:
            bar = self.by_stage[event.stage]
            self.bars.update(bar, advance=len(event.receipt.units))
        elif isinstance(event, StageDone) and event.resumed:
            self.bars.add_task(
                f"{event.stage} [dim](done before)", total=1, completed=1
            )

    def _next_slide(self, slide_id: str) -> None:
        self._clear()
        self.slide_id = slide_id
        self.bars.console.print(f"[bold]{escape(slide_id)}")

    def _slide_ended(self, outcome: Outcome) -> None:
        self._clear()
        line = escape(ended(outcome))
        self.bars.console.print(f"  {line}", no_wrap=True, overflow="ellipsis")
        if self.slides_bar is not None:
            self.bars.advance(self.slides_bar)

    def _clear(self) -> None:
        """Leave no bar but that of the slides, if there are several."""
        for bar in self.bars.task_ids:
            if bar != self.slides_bar:
                self.bars.remove_task(bar)
        self.by_stage.clear()
        if self.n_slides > 1 and self.slides_bar is None:
            self.slides_bar = self.bars.add_task("slides", total=self.n_slides)


@dataclass(slots=True, kw_only=True)
class _Lines:
    """A line when a stage starts and ends, and now and then in between."""

    n_slides: int
    n_ended: int = 0
    n_units: int = 0
    n_done: int = 0
    last_s: float = 0.0

    def __call__(self, event: Event | Outcome) -> None:
        if isinstance(event, Outcome):
            self.n_ended += 1
            self._say(f"[{self.n_ended}/{self.n_slides}] {ended(event)}")
        elif isinstance(event, StageStarted):
            self.n_units, self.n_done = event.n_units, event.n_done
            self.last_s = time.monotonic()
            self._say(f"{event.slide_id}: {event.stage} {self.n_done}/{self.n_units}")
        elif isinstance(event, BatchDone):
            self.n_done += len(event.receipt.units)
            if time.monotonic() - self.last_s > PLAIN_LINE_S:
                self.last_s = time.monotonic()
                self._say(
                    f"{event.slide_id}: {event.stage} {self.n_done}/{self.n_units}"
                )
        else:
            how = "done before" if event.resumed else f"{event.seconds:.1f} s"
            self._say(f"{event.slide_id}: {event.stage} done ({how})")

    def _say(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def ended(outcome: Outcome) -> str:
    """Say in a line what became of a slide."""
    name = outcome.slide.id
    if outcome.row is not None:
        n_nuclei, mm2 = outcome.row.n_nuclei, outcome.row.tissue_mm2
        before = " (done before)" if outcome.status == "unchanged" else ""
        return f"{name}: {n_nuclei:,} nuclei in {mm2:.2f} mm²{before}"
    reason = reason_of(outcome.error) if outcome.error else "unknown"
    return f"{name}: {outcome.status}: {reason}"
