"""What may go from a result folder, shown first and removed when it is asked for."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.inspecting import opened
from segpipe.stages.collecting import Collected, find_waste, remove_waste
from segpipe.stores.layout import Layout

SHOWN = 60
"""Lines of the table in the terminal."""


def collect(folder: Path, *, removing: bool, as_json: bool) -> None:
    """Print what nothing in a result folder refers to; remove it if asked.

    Raises
    ------
    OutputNotOurs
        If the folder is no result folder.
    """
    layout = opened(folder)
    found = remove_waste(layout) if removing else find_waste(layout)
    if as_json:
        sys.stdout.write(_as_json(found, layout, removing=removing) + "\n")
    else:
        _show(found, layout, removing=removing)


def _as_json(found: Collected, layout: Layout, *, removing: bool) -> str:
    waste = [asdict(item) | {"path": str(item.path)} for item in found.waste]
    facts = {
        "out": str(layout.out),
        "removed": removing,
        "n_bytes": _total(found),
        "waste": waste,
        "in_use": list(found.in_use),
    }
    return json.dumps(facts)


def _show(found: Collected, layout: Layout, *, removing: bool) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("size", justify="right", no_wrap=True)
    for name in ("path", "why"):
        table.add_column(name, overflow="fold")
    for item in found.waste[:SHOWN]:
        path = item.path.relative_to(layout.out)
        table.add_row(_size(item.n_bytes), escape(str(path)), item.why)
    console = Console(highlight=False)
    if found.waste:
        console.print(table)
    if (n_more := len(found.waste) - SHOWN) > 0:
        console.print(f"... and {n_more} more; --json lists all")
    if found.in_use:
        names = escape(", ".join(found.in_use[:5]))
        more = ", ..." if len(found.in_use) > len(found.in_use[:5]) else ""
        console.print(f"in use, left alone: {names}{more}")
    console.print(_said(found, removing=removing))


def _said(found: Collected, *, removing: bool) -> str:
    if not found.waste:
        return "There is nothing to remove."
    amount = f"{_size(_total(found))} in {len(found.waste)} files and folders"
    if removing:
        return f"Removed {amount}."
    return f"{amount} may go; nothing was removed. --yes removes it."


def _total(found: Collected) -> int:
    return sum(item.n_bytes for item in found.waste)


def _size(n_bytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} B"
