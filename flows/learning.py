"""Training and evaluating from the command line, with bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from segpipe.networks import load
from segpipe.stages.devices import resolve_device
from segpipe.training.evaluating import evaluate
from segpipe.training.export import export_weights
from segpipe.training.fit import train
from segpipe.training.patches import Progress as Told
from segpipe.training.recipe import read_recipe, shipped_recipe
from segpipe.training.selecting import select_samples


def train_by_recipe(recipe: Path, out: Path, device: str) -> Path:
    """Train, export the weights with their card, and return the weights' path."""
    with _bars() as told:
        checkpoint = train(
            read_recipe(recipe), out, device=resolve_device(device), progress=told
        )
    return export_weights(checkpoint, out)


def evaluate_on(
    name_or_weights: str | Path, manifest: Path, split: str, out: Path, device: str
) -> dict[str, Any]:
    """Score a network on a split of annotated images."""
    loaded = load(name_or_weights, device=resolve_device(device))
    recipe = shipped_recipe(loaded.network.name)
    samples = select_samples(manifest, split, recipe)
    with _bars() as told:
        return evaluate(loaded, samples, out, progress=told)


@contextmanager
def _bars() -> Iterator[Told]:
    """Yield a function that shows what is done, how many, of how many."""
    with Progress(console=Console(stderr=True)) as bars:
        shown: dict[str, TaskID] = {}

        def told(what: str, n_done: int, n_all: int) -> None:
            if what not in shown:
                shown[what] = bars.add_task(what, total=n_all)
            bars.update(shown[what], completed=n_done, total=n_all)

        yield told
