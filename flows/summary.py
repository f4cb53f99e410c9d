"""The end of a run, for a person and for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.exits import DONE, FAILED, QUARANTINED, exit_code
from segpipe.stages.quarantine import reason_of
from segpipe.stores.layout import Layout
from segpipe.tables.slides import STAGES, SlideRow
from tasks.outcomes import Outcome, with_status
from tasks.quarantining import stage_of
from tasks.wording import duration

SHOWN_SLIDES = 40
"""Rows of the table in the terminal."""


def code_of(outcomes: Sequence[Outcome], *, is_cohort: bool) -> int:
    """Return the exit code: of one slide its own, of a cohort whether all are done.

    A slide that another run holds is no failure: that run does it.
    """
    failed = with_status(outcomes, "quarantined")
    if not failed:
        return DONE
    if is_cohort:
        return QUARANTINED
    error = failed[0].error
    return exit_code(error) if error is not None else FAILED


def as_json(outcomes: Sequence[Outcome], out: Path, seconds: float, code: int) -> str:
    """Return the run as one JSON object."""
    counts = {
        f"n_{status}": len(with_status(outcomes, status))
        for status in ("done", "unchanged", "quarantined", "busy")
    }
    is_busy = code == DONE and counts["n_busy"] > 0
    facts = {
        "status": "busy" if is_busy else "done" if code == DONE else "quarantined",
        "exit_code": code,
        "out": str(out.resolve()),
        "seconds": round(seconds, 3),
        **counts,
        "n_passed_over": sum(outcome.is_passed_over for outcome in outcomes),
        "slides": [_record(outcome, out) for outcome in outcomes],
    }
    return json.dumps(facts)


def _record(outcome: Outcome, out: Path) -> dict[str, Any]:
    common = {"slide_id": outcome.slide.id, "path": str(outcome.slide.path)}
    if outcome.row is not None:
        row = asdict(outcome.row) | {"nuclei_per_mm2": outcome.row.nuclei_per_mm2}
        return row | {"status": outcome.status, "files": _files(outcome.row, out)}
    error = outcome.error
    return common | {
        "status": outcome.status,
        "error": type(error).__name__,
        "reason": reason_of(error) if error else "",
        "stage": stage_of(error) if error else "",
        "passed_over": outcome.is_passed_over,
    }


def show(outcomes: Sequence[Outcome], out: Path, seconds: float) -> None:
    """Print what a run came to."""
    console = Console(highlight=False, soft_wrap=True)
    rows = [outcome.row for outcome in outcomes if outcome.row is not None]
    unchanged = with_status(outcomes, "unchanged")
    if unchanged and len(unchanged) == len(outcomes):
        console.print("Nothing to do: everything is done already, with these settings.")
    if len(rows) == 1:
        _show_slide(console, rows[0], out)
    elif rows:
        _show_slides(console, rows)
    _show_busy(console, outcomes)
    _show_failures(console, outcomes, out)
    if rows:
        layout = Layout(out)
        if len(rows) > 1:
            _show_files(
                console, {"slides": layout.slides, "report": layout.cohort_report}
            )
        console.print(f'[dim]In Python: segpipe.read_nuclei("{escape(str(out))}")')
    n_slides = f"{len(outcomes)} slides, " if len(outcomes) > 1 else ""
    console.print(f"[dim]{n_slides}{duration(seconds)} in all.")


def show_failures(outcomes: Sequence[Outcome], out: Path) -> None:
    """Print on stderr what went wrong, if anything did."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    _show_failures(console, outcomes, out)


def _show_slide(console: Console, row: SlideRow, out: Path) -> None:
    console.print(
        f"[bold]{escape(row.slide_id)}[/]  "
        f"[bold green]{row.n_nuclei:,}[/] nuclei in {row.tissue_mm2:.2f} mm² tissue, "
        f"[bold]{row.nuclei_per_mm2:,.0f}[/] per mm²"
    )
    console.print(f"  resolution  {row.mpp:g} µm per pixel, {_shape(row)}")
    console.print(f"  network     {row.network} at {row.segmented_at}")
    times = "  ".join(
        f"{stage} {duration(row.seconds[stage])}"
        for stage in STAGES
        if stage in row.seconds
    )
    console.print(f"  stages      {times}")
    _show_files(console, {name: Path(path) for name, path in _files(row, out).items()})


def _show_slides(console: Console, rows: Sequence[SlideRow]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("slide")
    for name in ("nuclei", "mm²", "per mm²", "µm/px", "seconds"):
        table.add_column(name, justify="right")
    for row in rows[:SHOWN_SLIDES]:
        table.add_row(
            escape(row.slide_id),
            f"{row.n_nuclei:,}",
            f"{row.tissue_mm2:.2f}",
            f"{row.nuclei_per_mm2:,.0f}",
            f"{row.mpp:g}",
            f"{sum(row.seconds.values()):.1f}",
        )
    if len(rows) > SHOWN_SLIDES:
        table.add_row(f"... and {len(rows) - SHOWN_SLIDES} more in slides.parquet")
    n_nuclei = sum(row.n_nuclei for row in rows)
    mm2 = sum(row.tissue_mm2 for row in rows)
    table.add_section()
    density = f"{n_nuclei / mm2:,.0f}" if mm2 else ""
    table.add_row(f"{len(rows)} slides", f"{n_nuclei:,}", f"{mm2:.2f}", density)
    console.print(table)


def _show_busy(console: Console, outcomes: Sequence[Outcome]) -> None:
    busy = with_status(outcomes, "busy")
    for outcome in busy[:SHOWN_SLIDES]:
        _show_reason(console, outcome, "yellow")
    if len(busy) > SHOWN_SLIDES:
        console.print(f"... and {len(busy) - SHOWN_SLIDES} more that are busy")


def _show_failures(console: Console, outcomes: Sequence[Outcome], out: Path) -> None:
    failed = with_status(outcomes, "quarantined")
    for outcome in failed[:SHOWN_SLIDES]:
        _show_reason(console, outcome, "red")
    if len(failed) > SHOWN_SLIDES:
        console.print(f"... and {len(failed) - SHOWN_SLIDES} more in slides.parquet")
    if n_passed := sum(outcome.is_passed_over for outcome in failed):
        were = "was" if n_passed == 1 else "were"
        console.print(
            f"{n_passed} of them {were} quarantined by an earlier run and passed over, "
            "as neither slide nor settings changed: --retry-quarantined tries again."
        )
    if failed:
        folder = Layout(out).quarantine("x").parent
        console.print(f"[dim]Reasons in full: {escape(str(folder))}")


def _show_reason(console: Console, outcome: Outcome, colour: str) -> None:
    reason = reason_of(outcome.error) if outcome.error else ""
    said = f"[{colour}]{outcome.status}[/]  [bold]{escape(outcome.slide.id)}[/]"
    console.print(f"{said}  {escape(reason)}")


def _show_files(console: Console, files: dict[str, Path]) -> None:
    for name, path in files.items():
        if path.exists():
            console.print(f"  {name:<11} {escape(str(path))}")


def _files(row: SlideRow, out: Path) -> dict[str, str]:
    layout = Layout(out)
    files = {
        "table": layout.table(row.slide_id),
        "overlay": layout.overlay(row.slide_id),
        "report": layout.report(row.slide_id),
        "store": layout.store(row.slide_id),
    }
    return {name: str(path) for name, path in files.items() if path.exists()}


def _shape(row: SlideRow) -> str:
    height, width = row.slide_shape
    return f"{width:,} × {height:,} px"
