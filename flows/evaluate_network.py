"""How well a network does, on annotated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from segpipe.training.scoring import Images
from tasks import policy
from tasks.learning import score_network


@flow(name="evaluate-network", flow_run_name="{network} on {split}", **policy.FLOW)
def evaluate_network(  # noqa: PLR0913, PLR0917 - each is a parameter of a deployment
    network: str | Path,
    manifest: Path,
    split: str,
    out: Path,
    device: str = "auto",
    sets: list[str] | None = None,
    recipe: Path | None = None,
    test_time: str = "none",
) -> dict[str, Any]:
    """Score a network, by name or weights file; write metrics, tables and a page."""
    images = Images(manifest=manifest, split=split, sets=sets)
    return score_network(network, images, out, device, recipe, test_time)
