"""A network, from a recipe to weights that ship."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from tasks import policy
from tasks.learning import export_network, fit_network


@flow(name="train-network", flow_run_name="{recipe}", **policy.FLOW)
def train_network(
    recipe: Path,
    out: Path,
    device: str = "auto",
    *,
    manifest: Path | None = None,
    steps: int | None = None,
) -> Path:
    """Train a network by a recipe and write its weights and card under ``out``.

    Goes on where an earlier call was interrupted. ``recipe`` is a TOML file or the name
    of a recipe that ships; ``manifest`` and ``steps`` stand in for the recipe's own.
    """
    checkpoint = fit_network(recipe, out, device, manifest, steps)
    return export_network(checkpoint, out)
