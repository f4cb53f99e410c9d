"""What a plan says and what a result folder holds, for people and for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.forecasting import Choose, forecast, show_forecast
from segpipe.config import Settings, SlideRef
from segpipe.errors import OutputNotOurs, SlideNotFound, StoreDamaged
from segpipe.stages.finished import read_plan
from segpipe.stages.naming import slide_id_of
from segpipe.stages.path import STAGES
from segpipe.stages.plan import Plan
from segpipe.stages.planning import plan_slide
from segpipe.stores.layout import Layout
from segpipe.stores.lease_files import newest
from segpipe.stores.leases import judge
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import SlideRow, read_slides
from tasks.wording import duration

LISTS = ("tissue_windows", "image_windows", "tissue_tiles")
"""Fields of a plan that grow with the slide; their lengths are said instead."""
PIPE_WIDTH = 10_000
"""Columns where no terminal has fewer: each slide is a line, whole."""


def plan_as_json(slide: Path, settings: Settings, out: Path) -> str:
    """Plan a slide and return what was decided, without writing anything."""
    plan = plan_slide(SlideRef(id=slide_id_of(slide), path=slide), settings, out)
    facts = plan.model_dump(mode="json", exclude=set(LISTS))
    counts = {f"n_{name}": len(getattr(plan, name)) for name in LISTS}
    return json.dumps(facts | counts, indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """How far a stage of a slide is."""

    stage: str
    key: str
    """What its results depend on, hashed."""
    n_units: int
    n_done: int
    is_closed: bool
    seconds: float | None
    """How long it took, once it is closed."""


def inspect_run(folder: Path, *, as_json: bool) -> None:
    """Print the slides of a result folder, finished or not."""
    layout = opened(folder)
    rows = _listed(layout)
    unfinished = _unfinished(layout, {row.slide_id for row in rows})
    if as_json:
        facts = {"slides": [asdict(row) for row in rows], "unfinished": unfinished}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("slide", "status", "nuclei", "mm²", "time", "reason"):
        is_number = name in {"nuclei", "mm²", "time"}
        table.add_column(
            name,
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=name not in {"slide", "reason"},
        )
    for row in rows:
        table.add_row(*_cells(row))
    for slide_id in unfinished:
        table.add_row(escape(slide_id), "unfinished")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(table)
    n_slides = len(rows) + len(unfinished)
    slides = "slide" if n_slides == 1 else "slides"
    console.print(f"[dim]{n_slides} {slides} in {escape(str(folder))}")


def inspect_slide(
    folder: Path, slide_id: str, choose: Choose, *, as_json: bool
) -> None:
    """Print what is known of a slide, how far its stages are, and what would run now.

    Parameters
    ----------
    folder, slide_id
        Result folder and slide.
    choose
        Returns the settings that a run now would have, from those of the last run.
    as_json
        Whether to print one JSON object.
    """
    layout = opened(folder)
    ledger = Ledger(layout, slide_id)
    row = _row(ledger)
    reason = layout.quarantine(slide_id)
    quarantined = json.loads(reason.read_text()) if reason.exists() else None
    plan = _last_plan(ledger)
    states = [] if plan is None else _states(ledger, plan)
    if row is None and quarantined is None and not states:
        message = (
            f"No slide {slide_id!r} in {folder}. `segpipe inspect {folder}` lists."
        )
        raise SlideNotFound(message)
    now = None if plan is None else forecast(plan, layout, choose)
    holder = _holder(ledger)
    if as_json:
        facts = {
            "slide_id": slide_id,
            "row": asdict(row) if row else None,
            "quarantined": quarantined,
            "holder": holder,
            "settings": plan.settings.model_dump(mode="json") if plan else None,
            "stages": [asdict(state) for state in states],
            "now": now.facts() if now else None,
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(slide_id)}")
    if quarantined is not None:
        console.print(f"[red]quarantined[/] in stage {quarantined['stage']}")
        console.print(f"  {escape(quarantined['reason'])}")
    if row is not None:
        facts = asdict(row) | {"nuclei_per_mm2": row.nuclei_per_mm2}
        for name, value in facts.items():
            if said := _said(value):
                console.print(f"  {name:<16} {escape(said)}")
    if holder is not None:
        console.print(f"[yellow]in use[/] by {escape(holder)}")
    if states:
        console.print(_table_of(states, is_done=row is not None))
    if now is not None:
        show_forecast(now, console)


def opened(folder: Path) -> Layout:
    """Return the layout of a result folder.

    Raises
    ------
    OutputNotOurs
        If it is none.
    """
    layout = Layout(folder.resolve())
    if not layout.holds_results:
        message = (
            f"{folder} is no result folder. Give the folder that was --out of a run."
        )
        raise OutputNotOurs(message)
    return layout


def _unfinished(layout: Layout, known: set[str]) -> list[str]:
    plans = layout.ledger_root.glob("*/plan.json")
    return sorted(name for path in plans if (name := path.parent.name) not in known)


def _cells(row: SlideRow) -> tuple[str, ...]:
    if row.status != "done":
        return escape(row.slide_id), row.status, "", "", "", escape(row.reason)
    seconds = duration(sum(row.seconds.values()))
    return (
        escape(row.slide_id),
        row.status,
        f"{row.n_nuclei:,}",
        f"{row.tissue_mm2:.2f}",
        seconds,
        "",
    )


def _said(value: object) -> str:
    """Return a value of a row as a person reads it; nothing for what isn't known."""
    match value:
        case None:
            return ""
        case float():
            return f"{value:.4g}"
        case Mapping():
            known = {name: said for name, of in value.items() if (said := _said(of))}
            return ", ".join(f"{name} {said}" for name, said in known.items())
        case list() | tuple():
            return " × ".join(map(_said, value))
        case _:
            return str(value)


def _listed(layout: Layout) -> list[SlideRow]:
    return read_slides(layout.slides) if layout.slides.exists() else []


def _row(ledger: Ledger) -> SlideRow | None:
    """Return a slide's row by its ledger, or, if that is gone, by the table."""
    if ledger.row_path.exists():
        return SlideRow.from_json(ledger.row_path.read_text())
    rows = _listed(ledger.layout)
    own = (row for row in rows if row.slide_id == ledger.slide_id)
    return next((row for row in own if row.status == "done"), None)


def _holder(ledger: Ledger) -> str | None:
    """Say who holds a slide, as far as one look tells."""
    lease = newest(ledger.folder)
    if lease is None or (verdict := judge(lease)) == "free":
        return None
    doubt = "" if verdict == "held" else ", unless that is dead"
    return f"{lease.holder or 'a process that has not said its name'}{doubt}"


def _last_plan(ledger: Ledger) -> Plan | None:
    plan = read_plan(ledger)
    if plan is None and ledger.plan_path.exists():
        message = (
            f"{ledger.plan_path} can't be read: it is damaged or of another version of "
            "segpipe. Run the slide again."
        )
        raise StoreDamaged(message)
    return plan


def _states(ledger: Ledger, plan: Plan) -> list[StageState]:
    """Return how far each stage is by the receipts of the last plan."""
    states = []
    for stage in STAGES:
        key = plan.keys[stage.name]
        units, closed = stage.units(plan), ledger.is_closed(stage.name, key)
        done = ledger.done_units(stage.name, key)
        states.append(
            StageState(
                stage=stage.name,
                key=key,
                n_units=len(units),
                n_done=len(done & set(units)),
                is_closed=closed,
                seconds=ledger.seconds(stage.name, key) if closed else None,
            )
        )
    return states


def _table_of(states: list[StageState], *, is_done: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "state", "units", "time", "key"):
        table.add_column(name)
    for state in states:
        if state.is_closed:
            said = "done"
        elif is_done:
            said = "done, dropped"  # its results are in the table
        else:
            said = "unfinished" if state.n_done else "to do"
        seconds = "" if state.seconds is None else duration(state.seconds)
        units = f"{state.n_done}/{state.n_units}"
        table.add_row(state.stage, said, units, seconds, state.key)
    return table
