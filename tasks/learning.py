"""Training and evaluating as Prefect tasks; a task that runs again goes on or anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task

from segpipe.stages.devices import resolve_device
from segpipe.training import scoring
from segpipe.training.export import export_weights
from segpipe.training.fit import train
from segpipe.training.recipe import read_recipe
from segpipe.training.scoring import Images
from tasks import policy


@task(task_run_name="fit {recipe}", **policy.STAGE)
def fit_network(
    recipe: Path, out: Path, device: str, manifest: Path | None, steps: int | None
) -> Path:
    """Train by a recipe, on from the last checkpoint; return the last one."""
    read = read_recipe(recipe, manifest=manifest, steps=steps)
    return train(read, out, device=resolve_device(device))


@task(task_run_name="export {checkpoint}", **policy.STAGE)
def export_network(checkpoint: Path, out: Path) -> Path:
    """Write a checkpoint's weights with their card; return the weights' path."""
    return export_weights(checkpoint, out)


@task(task_run_name="score {network} on {images.split}", **policy.STAGE)
def score_network(  # noqa: PLR0913, PLR0917 - each is a parameter of the flow
    network: str | Path,
    images: Images,
    out: Path,
    device: str,
    recipe: Path | None,
    test_time: str,
) -> dict[str, Any]:
    """Score a network on annotated images; writes and returns ``metrics.json``."""
    return scoring.score_network(
        network,
        images,
        out,
        device=resolve_device(device),
        recipe=recipe,
        test_time=test_time,
    )
