"""How well a network does, on annotated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from tasks import policy
from tasks.learning import score_network


@flow(name="evaluate-network", flow_run_name="{network} on {split}", **policy.FLOW)
def evaluate_network(
    network: str | Path,
    manifest: Path,
    split: str,
    out: Path,
    device: str = "auto",
) -> dict[str, Any]:
    """Score a network, by name or weights file, and write ``metrics.json``."""
    return score_network(network, manifest, split, out, device)
