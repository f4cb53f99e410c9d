"""Progress as it is seen: a live view in a terminal, plain lines elsewhere, or nothing.

Everything goes to stderr; stdout is for what a run returns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import RLock, Thread

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from segpipe.stages.events import (
    BatchRetried,
    StageDone,
    StageStarted,
    StageStopped,
    WorkersLost,
)
from tasks.listening import Listener, News, harmless, silent
from tasks.outcomes import Outcome
from tasks.standing import SlideStanding, StageStanding, Standing
from tasks.wording import (
    come_to,
    ended,
    how_far,
    idle,
    is_known,
    left_in_words,
    mishap,
    number,
    slide_in_words,
    span,
    stillness,
)

PLAIN_LINE_S = 30.0
"""Seconds between two plain lines of a stage that goes on."""
TICK_S = 1.0
"""How often it is seen whether a plain line is due."""
REFRESH_HZ = 4.0
"""Frames of the live view a second."""
SHOWN_SLIDES = 12
"""Slides under way that the live view has rows for."""
BAR_CELLS = 24
SHORT_BAR_CELLS, STAGE_CELLS, UNITS_CELLS, SPEED_CELLS = 8, 7, 19, 6
LEFT_CELLS, GAPS_CELLS = 30, 8
"""Columns of the rows of several slides."""
WIDE_CELLS = 100
"""From this width on there is room for mm²/s, and for the time left of each slide."""


@contextmanager
def progress(n_slides: int, *, quiet: bool = False) -> Iterator[Listener]:
    """Yield a listener that shows how a run goes on."""
    console = Console(stderr=True)
    run = Standing(n_slides=n_slides, started_s=time.monotonic())
    if quiet:
        yield silent
    elif sys.stderr.isatty() and console.is_interactive:
        view = _View(run=run, console=console)
        with Live(
            get_renderable=view.render,
            console=console,
            refresh_per_second=REFRESH_HZ,
            transient=True,
        ):
            yield harmless(view, "progress view")
    else:
        lines = _Lines(run=run)
        with _every(TICK_S, lines.say_where):
            yield harmless(lines, "progress lines")


@contextmanager
def _every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Have something done every so often while inside."""
    is_over = Flag()

    def work() -> None:
        while not is_over.wait(seconds):
            act()

    thread = Thread(target=work, name="segpipe-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(timeout=2 * seconds)


@dataclass(slots=True, kw_only=True)
class _View:
    """Rows for the stages of the one slide, or for each of several under way."""

    run: Standing
    console: Console
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))
    lock: RLock = field(default_factory=RLock)
    """Events and frames come from different threads."""

    def __call__(self, news: News) -> None:
        with self.lock:
            self.run.hear(news, time.monotonic())
            if isinstance(news, Outcome):
                self._keep(news)
            elif isinstance(news, BatchRetried | WorkersLost):
                self._print(f"[yellow]{escape(mishap(news))}")

    def _keep(self, outcome: Outcome) -> None:
        """Leave a line for a slide that is not told of by the summary alone."""
        if self.run.n_slides > 1 and not is_known(outcome):
            mark = "[green]✓[/]" if outcome.status == "done" else "[red]✗[/]"
            self._print(f"{mark} {escape(ended(outcome))}")

    def _print(self, line: str) -> None:
        self.console.print(line, no_wrap=True, overflow="ellipsis", highlight=False)

    def render(self) -> RenderableType:
        """Return a frame."""
        now_s = time.monotonic()
        with self.lock:
            slides = list(self.run.slides.values())
            parts: list[RenderableType]
            if len(slides) == 1:
                parts = [self._slide_head(slides[0], now_s), self._stages(slides[0])]
            else:
                parts = [self._slides(slides[:SHOWN_SLIDES], now_s)]
                if len(slides) > SHOWN_SLIDES:
                    parts.append(Text(f"  and {len(slides) - SHOWN_SLIDES} more"))
            return Group(*parts, self._foot(now_s))

    def _slide_head(self, slide: SlideStanding, now_s: float) -> Text:
        facts = [f"{slide.tissue_mm2:,.2f} mm² tissue"]
        if slide.n_nuclei:
            facts.append(f"{slide.n_nuclei:,} nuclei")
        if left := left_in_words(self.run.slide_left(slide, now_s)):
            facts.append(left)
        head = Text(slide.slide_id, style="bold", no_wrap=True, overflow="ellipsis")
        return head.append(f"  {', '.join(facts)}", style="not bold dim")

    def _stages(self, slide: SlideStanding) -> Table:
        grid = _grid()
        for stage in slide.stages.values():
            grid.add_row(self._mark(stage), stage.name, *self._cells(slide, stage))
        if idle(slide) == "publishing":
            grid.add_row(self.spinner, "publish")
        return grid

    def _slides(self, slides: list[SlideStanding], now_s: float) -> Table:
        width = self.console.width
        grid = Table.grid(padding=(0, 1))
        for cells in (1, _name_cells(width), STAGE_CELLS, SHORT_BAR_CELLS):
            grid.add_column(width=cells, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=UNITS_CELLS, no_wrap=True)
        grid.add_column(width=SPEED_CELLS, no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, overflow="ellipsis")
        for slide in slides:
            stage = slide.current
            if stage is None:
                name, doing = Text(slide.slide_id), Text(idle(slide), style="dim")
                grid.add_row(self.spinner, name, "", "", doing)
                continue
            left = left_in_words(self.run.slide_left(slide, now_s))
            grid.add_row(
                self.spinner,
                Text(slide.slide_id),
                Text(stage.name, style="cyan"),
                _bar(stage, SHORT_BAR_CELLS),
                f"{stage.n_done:,}/{stage.n_units:,} {stage.unit}",
                _speed(stage, now_s),
                (stillness(stage, now_s) or left) if width >= WIDE_CELLS else "",
            )
        return grid

    def _mark(self, stage: StageStanding) -> RenderableType:
        if stage.seconds is not None:
            return Text("✓", style="green")
        return self.spinner if stage.is_under_way else Text(" ")

    def _cells(
        self, slide: SlideStanding, stage: StageStanding
    ) -> Iterator[RenderableType]:
        """Yield bar, units, speeds and time of a stage."""
        now_s = time.monotonic()
        yield _bar(stage, BAR_CELLS)
        yield Text(f"{stage.n_done:,}/{stage.n_units:,} {stage.unit}")
        yield _speed(stage, now_s)
        if self.console.width >= WIDE_CELLS:
            mm2_per_s = slide.mm2_per_s(stage, now_s)
            yield Text(f"{number(mm2_per_s)} mm²/s" if mm2_per_s else "", style="cyan")
        yield Text(
            _time_of(stage, now_s), style="dim" if stage.seconds is not None else ""
        )

    def _foot(self, now_s: float) -> RenderableType:
        run = self.run
        idle = "" if run.slides else "planning, " if run.n_ended else "starting, "
        elapsed = f"{idle}{span(now_s - run.started_s)} so far"
        if run.n_slides == 1:
            return Text(elapsed, style="dim")
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=BAR_CELLS)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        total = max(1, run.n_slides)
        bar = ProgressBar(total=total, completed=run.n_ended, width=BAR_CELLS)
        grid.add_row(bar, Text(f"{how_far(run, now_s)}, {elapsed}", style="bold"))
        if facts := come_to(run):
            grid.add_row("", facts)
        return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(width=BAR_CELLS)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=6, justify="right")
    return grid


def _name_cells(width: int) -> int:
    """Return how much of a line is left for a slide's name beside its numbers."""
    others = STAGE_CELLS + SHORT_BAR_CELLS + UNITS_CELLS + SPEED_CELLS + GAPS_CELLS
    left_cells = LEFT_CELLS if width >= WIDE_CELLS else 0
    return min(48, max(8, width - others - left_cells))


def _bar(stage: StageStanding, cells: int) -> ProgressBar:
    total = max(1, stage.n_units)
    done = total if stage.seconds is not None else stage.n_done
    return ProgressBar(total=total, completed=done, width=cells)


def _speed(stage: StageStanding, now_s: float) -> Text:
    units_per_s = stage.units_per_s(now_s)
    return Text(f"{number(units_per_s)}/s" if units_per_s else "", style="cyan")


def _time_of(stage: StageStanding, now_s: float) -> str:
    """Say how long a stage took, or what hinders it."""
    if stage.is_resumed:
        return "done before"
    if stage.seconds is not None:
        took = span(stage.seconds)
        return f"{took}, {stage.n_before:,} done before" if stage.n_before else took
    if still := stillness(stage, now_s) if stage.is_under_way else "":
        return still
    return f"{stage.n_before:,} done before" if stage.n_before else ""


@dataclass(slots=True, kw_only=True)
class _Lines:
    """A line when a stage ends, and one every half minute while one goes on."""

    run: Standing
    said_s: dict[str, float] = field(default_factory=dict)
    """When a slide was last said to go on."""
    lock: RLock = field(default_factory=RLock)

    def __call__(self, news: News) -> None:
        now_s = time.monotonic()
        with self.lock:
            self.run.hear(news, now_s)
            if isinstance(news, Outcome):
                self.said_s.pop(news.slide.id, None)
                self._slide_ended(news)
            elif isinstance(news, BatchRetried | WorkersLost):
                _say(mishap(news))
            elif isinstance(news, StageStarted):
                self.said_s[news.slide_id] = now_s
                if news.n_done:
                    _say(
                        slide_in_words(self.run, self.run.slides[news.slide_id], now_s)
                    )
            elif isinstance(news, StageStopped):
                self.said_s.pop(news.slide_id, None)
            elif isinstance(news, StageDone):
                self.said_s.pop(news.slide_id, None)
                stage = self.run.slides[news.slide_id].stages[news.stage]
                units = f"{news.stage} {stage.n_units:,} {stage.unit}"
                _say(f"{news.slide_id}: {units}, {_time_of(stage, now_s)}")

    def _slide_ended(self, outcome: Outcome) -> None:
        if is_known(outcome) and self.run.n_slides > SHOWN_SLIDES:
            return
        _say(f"[{self.run.n_ended}/{self.run.n_slides}] {ended(outcome)}")

    def say_where(self) -> None:
        """Say how far the slides are of which nothing was said for long."""
        now_s = time.monotonic()
        with self.lock:
            for slide_id, said_s in self.said_s.items():
                if now_s - said_s >= PLAIN_LINE_S and slide_id in self.run.slides:
                    self.said_s[slide_id] = now_s
                    _say(slide_in_words(self.run, self.run.slides[slide_id], now_s))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
