"""Evaluating and calibrating from the command line, with bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from segpipe.stages.devices import resolve_device
from segpipe.training.calibrate import Calibration, calibrate_weights
from segpipe.training.scoring import Images, score_label_maps, score_network
from segpipe.training.stock import Progress as Told


def evaluate_on(  # noqa: PLR0913 - each is an option
    name_or_weights: str | Path,
    images: Images,
    out: Path,
    *,
    device: str,
    recipe: Path | None,
    test_time: str,
) -> dict[str, Any]:
    """Score a network, by name or weights file."""
    with _bars() as told:
        return score_network(
            name_or_weights,
            images,
            out,
            device=resolve_device(device),
            recipe=recipe,
            test_time=test_time,
            progress=told,
        )


def evaluate_labels_on(
    labels: Path, images: Images, out: Path, *, recipe: Path | None
) -> dict[str, Any]:
    """Score a folder of label maps made elsewhere."""
    with _bars() as told:
        return score_label_maps(labels, images, out, recipe=recipe, progress=told)


def calibrate_on(
    weights: Path, images: Images, *, device: str, recipe: Path | None
) -> Calibration:
    """Choose the decoder's constants of some weights and write their card."""
    with _bars() as told:
        return calibrate_weights(
            weights,
            images,
            device=resolve_device(device),
            recipe=recipe,
            progress=told,
        )


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
