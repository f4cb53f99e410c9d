"""All slides of a result folder: ``slides.parquet`` and the cohort's page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from segpipe.errors import StoreDamaged
from segpipe.report.cohort_page import cohort_page
from segpipe.stages.finished import read_row
from segpipe.stages.quarantine import Quarantine
from segpipe.stores.durable import sweep, write_text
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import SlideRow, read_slides, write_slides


def write_catalog(layout: Layout) -> None:
    """Write table and page of the slides anew, if anything of them has changed.

    A slide that was done and is quarantined now is quarantined. What they were written
    from is noted by its files' sizes and times, so that looking is enough for a folder
    of ten thousand slides in which nothing has changed, whoever wrote it last.
    """
    sources = _signature(_sources(layout))
    noted = layout.ledger_root / "catalog"
    written = (layout.slides, layout.cohort_report)
    if _text(noted) == f"{sources} {_signature(written)}":
        return
    catalog = _rows(layout)
    write_slides(catalog, layout.slides)
    write_text(layout.cohort_report, cohort_page(catalog))
    for path in written:
        sweep(path.parent, path.name)
    write_text(noted, f"{sources} {_signature(written)}")


def _rows(layout: Layout) -> list[SlideRow]:
    """Return the row of every slide, done or quarantined, by id."""
    rows = {row.slide_id: row for row in _left_without_ledger(layout)}
    for path in _sources(layout):
        row = (
            read_row(Ledger(layout, path.parent.name))
            if path.name == "row.json"
            else _quarantined(layout, path.stem)
        )
        if row is not None:
            rows[row.slide_id] = row
    return [rows[slide_id] for slide_id in sorted(rows)]


def _left_without_ledger(layout: Layout) -> Iterator[SlideRow]:
    """Yield the rows of slides whose ledger was removed and whose table stands."""
    try:
        noted = read_slides(layout.slides)
    except StoreDamaged:
        return
    for row in noted:
        slide_id = row.slide_id
        if not layout.ledger(slide_id).exists() and layout.table(slide_id).exists():
            yield row


def _sources(layout: Layout) -> Iterator[Path]:
    """Yield the rows that slides left and then the records of those that failed."""
    yield from (folder / "row.json" for folder in _entries(layout.ledger_root))
    records = _entries(layout.quarantine("*").parent)
    yield from (path for path in records if path.suffix == ".json")


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _signature(paths: Iterable[Path]) -> str:
    """Return a hash of what files look like; those that aren't there are left out."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        looks = f"{found.st_size}\0{found.st_mtime_ns}\0{found.st_ino}"
        digest.update(f"{path}\0{looks}\0".encode())
    return digest.hexdigest()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _quarantined(layout: Layout, slide_id: str) -> SlideRow:
    record = Quarantine.read(layout, slide_id)
    return SlideRow(
        slide_id=slide_id,
        path="" if record is None else record.path,
        status="quarantined",
        reason="Its record can't be read." if record is None else record.reason,
    )
