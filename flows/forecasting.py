"""What a run now would do to a slide that a result folder knows, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.exits import sentence
from segpipe.config import Settings
from segpipe.errors import SegpipeError
from segpipe.stages.explaining import StageOutlook, is_done, outlook
from segpipe.stages.plan import Plan
from segpipe.stages.planning import decided
from segpipe.stages.pricing import check_budget
from segpipe.stores.layout import Layout

Choose = Callable[[Settings], Settings]
"""Settings of a run now, from those of the last run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run now would do."""

    changes: tuple[str, ...]
    """Settings that would be others than in the last run, in words."""
    is_done: bool
    """Whether it would find everything done."""
    stages: tuple[StageOutlook, ...]
    """What it would do in each stage; empty if it would be refused."""
    refused: str | None = None
    """Why it would be refused."""

    def facts(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def forecast(last: Plan, layout: Layout, choose: Choose) -> Forecast:
    """Plan the slide of an earlier run anew, with the file as it is now.

    Parameters
    ----------
    last
        The plan of that run.
    layout
        The result folder as it lies now; the plan may be older than its move.
    choose
        Returns the settings of a run now, from those of that one.

    Raises
    ------
    SettingsError
        If what was chosen won't do.
    """
    settings = choose(last.settings)
    changes = _changes(last.settings, settings)
    try:
        plan = decided(last.slide, settings, layout.out)
        if not is_done(plan):
            check_budget(plan)
    except SegpipeError as error:
        return Forecast(
            changes=changes, is_done=False, stages=(), refused=sentence(error)
        )
    return Forecast(changes=changes, is_done=is_done(plan), stages=outlook(plan))


def show_forecast(found: Forecast, console: Console) -> None:
    """Print what a run now would do."""
    chosen = ", ".join(found.changes)
    with_ = f"with {escape(chosen)}" if chosen else "with the settings of the last run"
    running = [stage for stage in found.stages if stage.would_run]
    if found.refused is not None:
        console.print(f"A run {with_} would be [red]refused[/]:")
        console.print(f"  {escape(found.refused)}")
    elif not running:
        console.print(f"A run {with_} would find everything done.")
    else:
        console.print(f"A run {with_} would run:")
        table = Table(box=None, pad_edge=False, show_header=False)
        for stage in running:
            units = f"{stage.n_units} units"
            table.add_row("", stage.stage, units, escape("; ".join(stage.reasons)))
        console.print(table)


def _changes(before: Settings, now: Settings) -> tuple[str, ...]:
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    return tuple(f"{name}={_said(new[name])}" for name in new if new[name] != old[name])


def _said(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return ",".join(value) if isinstance(value, list) else str(value)
