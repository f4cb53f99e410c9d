"""The command ``segpipe compare``; what is heavy is imported when it is called."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import options
from flows.exits import DONE, QUARANTINED, exits, stoppable
from segpipe.report.scores import AGREEMENT, score_text

if TYPE_CHECKING:
    from segpipe.stages.comparing import Comparison

EXAMPLES = """
Examples:

`segpipe compare run-1 run-2`

`segpipe compare hoverlite unet --out comparison`

Nuclei are one if their IoU is above 0.5. With --out: compare.parquet (a row per slide),
nuclei.parquet (a row per nucleus), differences/ID.geojson for QuPath, compare.html.

Exit codes: 0 all slides in both compared · 3 some not, with the reason · 2 nothing can
be compared.
"""
FILES = ("compare.html", "compare.parquet", "nuclei.parquet", "differences/")
SHOWN_SLIDES = 40
"""Lines of the table in the terminal."""
COUNTS = {
    "n_a": "A",
    "n_b": "B",
    "n_matched": "matched",
}
SCORES = {**AGREEMENT, "kappa": "κ"}
"""With the long name cut short: the table is to fit a terminal."""

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder for tables, GeoJSON and a page; made if missing.",
        rich_help_panel=options.RESULTS,
        show_default=False,
    ),
]


def compare(
    folder_a: Annotated[
        Path,
        typer.Argument(metavar="DIR_A", help="--out of a run.", show_default=False),
    ],
    folder_b: Annotated[
        Path, typer.Argument(metavar="DIR_B", help="Of another.", show_default=False)
    ],
    *,
    out: Out = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Match the nuclei of two runs, and say how far they agree and where not."""
    with exits(debug=debug, as_json=as_json), stoppable():
        from segpipe.stages import comparing  # noqa: PLC0415
        from segpipe.stages.showing_differences import write_page  # noqa: PLC0415

        with _telling(as_json=as_json) as listener:
            found = comparing.compare(folder_a, folder_b, out, listener=listener)
            if out is not None:
                write_page(found, out)
        code = QUARANTINED if found.skipped else DONE
        if as_json:
            sys.stdout.write(json.dumps(_facts(found, out, code)) + "\n")
        else:
            _show(found, out)
    raise typer.Exit(code)


@contextmanager
def _telling(*, as_json: bool) -> Iterator[Any]:
    """Yield what shows on a terminal which slide is compared."""
    console = Console(stderr=True, highlight=False)
    if as_json or not console.is_terminal:
        yield lambda _: None
        return
    with console.status("looking ...") as status:
        yield lambda slide_id: status.update(f"comparing {escape(slide_id)}")


def _facts(found: Comparison, out: Path | None, code: int) -> dict[str, Any]:
    from segpipe.stages.comparing import facts_of, record_of  # noqa: PLC0415

    common = found.common
    return {
        "status": "done" if code == DONE else "skipped",
        "exit_code": code,
        "a": str(common.a.layout.out),
        "b": str(common.b.layout.out),
        "out": None if out is None else str(out.resolve()),
        "n_compared": len(found.slides),
        "n_skipped": len(found.skipped),
        "cohort": facts_of(found.cohort),
        "slides": [record_of(slide) for slide in found.slides],
        "skipped": {one.slide_id: one.reason for one in found.skipped},
        "only_a": list(common.only_a),
        "only_b": list(common.only_b),
    }


def _show(found: Comparison, out: Path | None) -> None:
    from segpipe.stages.comparing import facts_of, record_of  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    cohort = facts_of(found.cohort)
    lines = {s.slide_id: _cells(record_of(s)) for s in found.slides[:SHOWN_SLIDES]}
    if len(found.slides) > 1:
        lines[f"{len(found.slides)} slides"] = _cells(cohort)
    console.print(_table(lines))
    if len(found.slides) > SHOWN_SLIDES:
        console.print("[dim]The first slides; all are in --out's compare.parquet.")
    console.print(
        f"only in A [bold]{cohort['n_only_a']:,}[/] · only in B "
        f"[bold]{cohort['n_only_b']:,}[/] · of another type "
        f"[bold]{cohort['n_other_type']:,}[/]"
    )
    _show_types(console, cohort)
    _show_rest(console, found)
    if out is not None:
        for name in FILES:
            console.print(f"  {escape(str(out / name))}")


def _table(lines: Mapping[str, tuple[str, ...]]) -> Table:
    """Lay lines out; where there is little room, names are cut before numbers."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("slide", no_wrap=True, overflow="ellipsis")
    titles = (*COUNTS.values(), *SCORES.values(), "Δ µm²")
    for title, *cells in zip(titles, *lines.values(), strict=True):
        width = max(map(len, (title, *cells)))
        table.add_column(title, justify="right", no_wrap=True, min_width=width)
    for name, line in lines.items():
        table.add_row(escape(name), *line)
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        *(f"{row[name]:,}" for name in COUNTS),
        *(score_text(row[name]) for name in SCORES),
        score_text(row["area_difference_um2"], "+.2f"),
    )


def _show_types(console: Console, cohort: Mapping[str, Any]) -> None:
    """Print which type in A is which in B, where both runs have types."""
    names = cohort["types"]
    if not names:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("A \\ B", no_wrap=True)
    for name in names:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for name, counts in zip(names, cohort["confusion"], strict=True):
        table.add_row(escape(name), *(f"{count:,}" for count in counts))
    console.print(table)


def _show_rest(console: Console, found: Comparison) -> None:
    """Print what was not compared, and how nuclei were matched if not as usual."""
    by_centres = [slide.slide_id for slide in found.slides if slide.by == "centres"]
    if by_centres:
        console.print(
            "[yellow]matched by centres[/] within 3 µm, as a run has no label map any "
            f"more: {escape(', '.join(by_centres[:SHOWN_SLIDES]))}. Run those slides "
            "again for SQ, PQ and Dice."
        )
    for one in found.skipped[:SHOWN_SLIDES]:
        name, reason = escape(one.slide_id), escape(one.reason)
        console.print(f"[red]not compared[/]  [bold]{name}[/]  {reason}")
    if len(found.skipped) > SHOWN_SLIDES:
        console.print(f"... and {len(found.skipped) - SHOWN_SLIDES} more")
    from segpipe.report.comparison_page import counted  # noqa: PLC0415

    common = found.common
    for run, names in (("A", common.only_a), ("B", common.only_b)):
        if names:
            shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
            console.print(f"[dim]only in {run}, {counted(len(names))}: {escape(shown)}")
