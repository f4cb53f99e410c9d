"""Where everything of a run lies: the result folder is a contract (docs/outputs)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of a result folder; nothing is created by asking for one."""

    out: Path
    """The folder given as ``--out``."""

    @property
    def marker(self) -> Path:
        """File that says the folder is ours."""
        return self.ledger_root / "run.json"

    @property
    def holds_results(self) -> bool:
        """Whether a run has left something in the folder, be its ledger gone or not."""
        return self.marker.exists() or self.slides.exists()

    @property
    def ledger_root(self) -> Path:
        """Receipts of every slide."""
        return self.out / "ledger"

    @property
    def slides(self) -> Path:
        """Table with a row per slide."""
        return self.out / "slides.parquet"

    @property
    def cohort_report(self) -> Path:
        """Page about all slides."""
        return self.out / "report.html"

    def ledger(self, slide_id: str) -> Path:
        """Receipts, plan and scratch arrays of a slide."""
        return self.ledger_root / slide_id

    def scratch(self, slide_id: str) -> Path:
        """Arrays that no one needs once the table is written."""
        return self.ledger(slide_id) / "scratch.zarr"

    def parts(self, slide_id: str) -> Path:
        """Rows of each tile, before they become one table."""
        return self.ledger(slide_id) / "parts"

    def detections(self, slide_id: str) -> Path:
        """Claims of each window of a detector; they stay where maps would."""
        return self.ledger(slide_id) / "detections"

    def instances(self, slide_id: str) -> Path:
        """Instances of each tile, before they become nuclei."""
        return self.ledger(slide_id) / "instances"

    def store(self, slide_id: str) -> Path:
        """OME-Zarr of a slide."""
        return self.out / "stores" / f"{slide_id}.zarr"

    def table(self, slide_id: str) -> Path:
        """Parquet file with a row per nucleus."""
        return self.out / "nuclei" / f"slide_id={slide_id}" / "part-0.parquet"

    def quarantine(self, slide_id: str) -> Path:
        """Why a slide could not be done."""
        return self.out / "quarantine" / f"{slide_id}.json"

    def report(self, slide_id: str) -> Path:
        """Page about a slide."""
        return self.out / "reports" / f"{slide_id}.html"

    def overlay(self, slide_id: str) -> Path:
        """Picture of a slide with its nuclei outlined."""
        return self.out / "reports" / f"{slide_id}.png"
