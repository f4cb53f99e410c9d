"""The command ``segpipe export``: results in the formats of other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows import options
from flows.exits import exits

EXAMPLES = """
Examples:

`segpipe export --list`

`segpipe export results --format geojson`

`segpipe export results --format csv --gzip --slide slide-1 --to tables`
"""


def _list_formats(asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked:
        from flows.exporting import show_formats  # noqa: PLC0415

        show_formats()
        raise typer.Exit


def export(  # noqa: PLR0913 - each is an option
    folder: options.ResultFolder,
    *,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="One of `segpipe export --list`, e.g. geojson.",
            show_default=False,
        ),
    ],
    gzip: Annotated[
        bool,
        typer.Option("--gzip", help="Compress the files, if the format allows it."),
    ] = False,
    slide_id: Annotated[
        list[str] | None,
        typer.Option("--slide", metavar="ID", help="Only this slide; may be repeated."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to. Default: DIR/exports/NAME."),
    ] = None,
    _list: Annotated[
        bool,
        typer.Option(
            "--list",
            help="List the formats, and what opens them.",
            callback=_list_formats,
            is_eager=True,
        ),
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Write results in another format, a file for each slide."""
    with exits(debug=debug):
        from flows.exporting import export_slides  # noqa: PLC0415

        for path in export_slides(folder, format_, slide_id, to, is_packed=gzip):
            sys.stdout.write(f"{path}\n")
