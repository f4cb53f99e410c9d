"""Training from the command line, with loss and rate shown; the recipes that ship."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from flows.progress import PLAIN_LINE_S
from segpipe.stages.devices import resolve_device
from segpipe.training.export import export_weights
from segpipe.training.fit import StepDone, train
from segpipe.training.recipe import Recipe, read_recipe, shipped_recipes


def train_by_recipe(
    recipe: Recipe, out: Path, device: str, *, draw_workers: int | None = None
) -> Path:
    """Train, export the weights with their card, and return the weights' path."""
    with _shown(recipe.steps) as shown:
        checkpoint = train(
            recipe,
            out,
            device=resolve_device(device),
            draw_workers=draw_workers,
            progress=shown.progress,
            watch=shown.watch,
        )
    return export_weights(checkpoint, out)


@contextmanager
def _shown(n_steps: int) -> Iterator[_Shown]:
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bars:
        yield _Shown(bars=bars, n_steps=n_steps)


@dataclass(slots=True, kw_only=True)
class _Shown:
    """Bars in a terminal, elsewhere a line of loss now and then, all on stderr."""

    bars: Progress
    n_steps: int
    by_name: dict[str, TaskID] = field(default_factory=dict)
    dev: str = ""
    said_s: float = -PLAIN_LINE_S

    def progress(self, what: str, n_done: int, n_all: int) -> None:
        """Show what is done, how many, of how many."""
        if what not in self.by_name:
            self.by_name[what] = self.bars.add_task(what, total=n_all, note="")
        self.bars.update(self.by_name[what], completed=n_done, total=n_all)

    def watch(self, taken: StepDone) -> None:
        """Show the loss, the rate and the last score of a step."""
        if taken.dev:
            self.dev = "  dev " + " ".join(f"{n} {v:.3f}" for n, v in taken.dev.items())
        note = f"loss {taken.row['loss']:.3f}  rate {taken.rate:.1e}{self.dev}"
        self.bars.update(self.by_name["training"], note=note)
        now = time.monotonic()
        due = now - self.said_s >= PLAIN_LINE_S or taken.step == self.n_steps
        if self.bars.disable and due:
            self.said_s = now
            sys.stderr.write(f"step {taken.step} of {self.n_steps}: {note}\n")


def show_recipes() -> None:
    """Print every recipe that ships, with the first line of what it says of itself."""
    table = Table(box=None, pad_edge=False)
    for name in ("recipe", "network", "steps", "about"):
        table.add_column(name, justify="right" if name == "steps" else "left")
    for path in shipped_recipes():
        recipe = read_recipe(path)
        about = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        table.add_row(recipe.name, recipe.network, str(recipe.steps), about)
    Console(highlight=False).print(table)
