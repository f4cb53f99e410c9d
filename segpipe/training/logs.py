"""The log of a training run: a CSV with a row per step, in step with the checkpoint."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path


def append_log(path: Path, step: int, rate: float, terms: Mapping[str, float]) -> None:
    """Add a step's learning rate, loss and loss terms."""
    row = {"rate": rate, "loss": sum(terms.values()), **terms}
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["step", *row])
        writer.writerow([step, *(f"{value:.6g}" for value in row.values())])


def rewind_log(path: Path, step: int) -> None:
    """Drop the steps after ``step``: a resumed run takes them again."""
    if not path.exists():
        return
    header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [row for row in rows if int(row.split(",", 1)[0]) <= step]
    part = path.with_name(f".{path.name}.tmp")
    part.write_text("".join([header, *kept]), encoding="utf-8")
    part.replace(path)
