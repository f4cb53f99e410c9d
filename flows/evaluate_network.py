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
    manifest: Path,
    out: Path,
    split: str = "test",
    network: str = "hoverlite",
    weights: Path | None = None,
    device: str = "auto",
    sets: list[str] | None = None,
    recipe: Path | None = None,
    test_time: str = "none",
) -> dict[str, Any]:
    """Score a network on annotated images; write metrics, tables and a page.

    ``network`` is a name; ``weights``, a file, stands in for those that ship with it.
    """
    images = Images(manifest=manifest, split=split, sets=sets)
    return score_network(weights or network, images, out, device, recipe, test_time)
