"""Comma-separated values: every column but the outline."""

from __future__ import annotations

from pathlib import Path

from segpipe.exports._export import Export
from segpipe.exports._text import writing_text
from segpipe.tables.reading import iter_nuclei
from segpipe.tables.schema import COLUMNS

_NAMES = [column.name for column in COLUMNS if column.dtype != "wkb"]


def write(out_dir: Path, slide_id: str, path: Path) -> None:
    """Write a header and a line per nucleus, row group by row group."""
    groups = iter_nuclei(out_dir, slide_id, _NAMES)
    with writing_text(path) as text:
        text.write(",".join(_NAMES) + "\n")
        for nuclei in groups:
            nuclei.to_csv(text, header=False, index=False, lineterminator="\n")


EXPORT = Export(
    name="csv",
    extensions=(".csv", ".csv.gz"),
    description="spreadsheets and R",
    write=write,
)
