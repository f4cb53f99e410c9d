"""Comma-separated values: every column but the outline.

Spreadsheets run a cell of text that begins like a formula, so such text gets an
apostrophe before it, which they take for a sign that it is text.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from segpipe.exports._export import Export
from segpipe.exports._text import writing_text
from segpipe.tables.reading import iter_nuclei
from segpipe.tables.schema import COLUMNS

_NAMES = [column.name for column in COLUMNS if column.dtype != "wkb"]


_TEXTS = [column.name for column in COLUMNS if column.dtype == "string"]
_FORMULA = r"^(\s*[=+\-@])"
"""How a cell begins that a spreadsheet would run."""
_BREAK = r"[\t\r\n]"


def write(out_dir: Path, slide_id: str, path: Path) -> None:
    """Write a header and a line per nucleus, row group by row group."""
    groups = iter_nuclei(out_dir, slide_id, _NAMES)
    with writing_text(path) as text:
        text.write(",".join(_NAMES) + "\n")
        for nuclei in groups:
            _inert(nuclei).to_csv(text, header=False, index=False, lineterminator="\n")


def _inert(nuclei: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with no text that a spreadsheet would run."""
    texts = {
        name: nuclei[name]
        .astype("str")
        .str.replace(_BREAK, " ", regex=True)
        .str.replace(_FORMULA, r"'\1", regex=True)
        for name in _TEXTS
    }
    return nuclei.assign(**texts)


EXPORT = Export(
    name="csv",
    extensions=(".csv", ".csv.gz"),
    description="spreadsheets and R",
    write=write,
)
