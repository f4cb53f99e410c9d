"""The scores of an evaluation, or of calibrating, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from segpipe.report.scores import score_text
from segpipe.training.calibrate import Calibration

MEANS = {
    "dice": "Dice",
    "aji": "AJI",
    "dq": "DQ",
    "pq": "PQ",
    "f1_det": "F1 det",
    "f1_type": "F1 type",
}
"""Scores that are shown and how they are called; F1 of types is pooled."""
FILES = ("metrics.json", "images.parquet", "curves.parquet", "evaluation.html")


def show_scores(metrics: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Print the scores of each set and where to find more."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("set", no_wrap=True)
    for title in ("images", "nuclei", *MEANS.values(), "mAP"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, row in metrics.items():
        table.add_row(
            escape(name),
            f"{row['n_images']:,}",
            f"{row['n_nuclei']:,}",
            *(score_text(row.get(score)) for score in MEANS),
            score_text(row["pooled"].get("map")),
        )
    console.print(table)
    console.print(
        "[dim]Means over images; F1 of types and COCO's mAP over all images pooled."
    )
    for name in FILES:
        console.print(f"  {escape(str(out / name))}")


def show_calibration(found: Calibration, weights: Path) -> None:
    """Print what calibrating changed and how much it helped."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table("set", "before", "after", box=None, pad_edge=False)
    for name, before in found.before.items():
        table.add_row(escape(name), score_text(before), score_text(found.after[name]))
    console.print(table)
    console.print("[dim](PQ + AJI) / 2, means over images.")
    constants = ", ".join(
        f"{name} = {value}" for name, value in found.constants.items()
    )
    console.print(f"  {constants or 'the defaults'}")
    console.print(f"  {escape(str(weights.with_suffix('.toml')))}")
