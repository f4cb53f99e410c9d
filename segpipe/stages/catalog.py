"""All slides of a result folder: ``slides.parquet`` and the cohort's page."""

from __future__ import annotations

import json
from pathlib import Path

from segpipe.report.cohort_page import cohort_page
from segpipe.stores.durable import write_text
from segpipe.stores.layout import Layout
from segpipe.tables.slides import SlideRow, write_slides


def write_catalog(layout: Layout) -> tuple[SlideRow, ...]:
    """Write table and page of the slides anew from what each left; return the rows.

    A slide that was done and is quarantined now is quarantined.
    """
    rows = {row.slide_id: row for row in (*_done(layout), *_quarantined(layout))}
    catalog = tuple(rows[slide_id] for slide_id in sorted(rows))
    write_slides(catalog, layout.slides)
    write_text(layout.cohort_report, cohort_page(catalog))
    return catalog


def _done(layout: Layout) -> list[SlideRow]:
    paths = sorted(layout.ledger_root.glob("*/row.json"))
    return [SlideRow.from_json(path.read_text()) for path in paths]


def _quarantined(layout: Layout) -> list[SlideRow]:
    return [
        _reasoned(path) for path in sorted(layout.quarantine("*").parent.glob("*.json"))
    ]


def _reasoned(path: Path) -> SlideRow:
    record = json.loads(path.read_text())
    return SlideRow(
        slide_id=record["slide_id"],
        path=record["path"],
        status="quarantined",
        reason=record["reason"],
    )
