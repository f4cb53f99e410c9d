"""Training and evaluating as Prefect tasks; a task that runs again goes on or anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task

from segpipe.networks import load
from segpipe.stages.devices import resolve_device
from segpipe.training.evaluating import evaluate
from segpipe.training.export import export_weights
from segpipe.training.fit import train
from segpipe.training.recipe import read_recipe, shipped_recipe
from segpipe.training.selecting import select_samples
from tasks import policy


@task(task_run_name="fit {recipe}", **policy.STAGE)
def fit_network(recipe: Path, out: Path, device: str) -> Path:
    """Train by a recipe, on from the last checkpoint; return the last one."""
    return train(read_recipe(recipe), out, device=resolve_device(device))


@task(task_run_name="export {checkpoint}", **policy.STAGE)
def export_network(checkpoint: Path, out: Path) -> Path:
    """Write a checkpoint's weights with their card; return the weights' path."""
    return export_weights(checkpoint, out)


@task(task_run_name="score {network} on {split}", **policy.STAGE)
def score_network(
    network: str | Path, manifest: Path, split: str, out: Path, device: str
) -> dict[str, Any]:
    """Score a network on annotated images; writes and returns ``metrics.json``."""
    loaded = load(network, device=resolve_device(device))
    samples = select_samples(manifest, split, shipped_recipe(loaded.network.name))
    return evaluate(loaded, samples, out)
