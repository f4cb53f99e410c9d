"""Scores and confusions as HTML tables that show at a glance what is high."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from segpipe.metrics.overlap import Ints
from segpipe.report.scores import NOTHING, score_text

SCORES = {
    "dice": "Dice",
    "aji": "AJI",
    "aji_plus": "AJI+",
    "dq": "DQ",
    "sq": "SQ",
    "pq": "PQ",
    "f1_det": "F1 det",
    "ap50": "AP50",
    "map": "mAP",
    "f1_type": "F1 type",
    "mpq": "mPQ",
    "mpq_plus": "mPQ+",
}
"""Scores of the table, the higher the better, and how they are called."""
ERRORS = {
    "pixel_error": "pixel error",
    "warping_error": "warping error",
    "rand_error": "Rand error",
    "adapted_rand_error": "adapted Rand error",
}
"""Errors of the table, the lower the better."""
POOLED_ONLY = ("f1_type", "mpq_plus")
"""Scores of added counts only, by their definition."""


def score_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the scores of each set, in both ways of averaging."""
    names = [n for n in SCORES if any(_shown(row, n) for row in metrics.values())]
    head = _row(["set", "", *(SCORES[name] for name in names)], "th")
    lines = "".join(_both(name, row, names) for name, row in metrics.items())
    return _table(f"<thead>{head}</thead><tbody>{lines}</tbody>")


def error_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the pixel errors of each set, as means over images."""
    head = _row(["set", *ERRORS.values()], "th")
    lines = "".join(
        _row([name, *(score_text(row.get(e), ".4f") for e in ERRORS)], "td")
        for name, row in metrics.items()
    )
    return _table(f"<thead>{head}</thead><tbody>{lines}</tbody>")


def confusion_table(
    confusion: Ints, types: Sequence[str], corner: str = "truth \\ found"
) -> str:
    """Return which type was taken for which, coloured by the share of the row.

    Parameters
    ----------
    confusion : (K + 2, K + 2) int
        0 unknown, 1..K the types, K + 1 no nucleus; rows are the truth.
    types
        Names of the K types.
    corner
        What rows and columns are.
    """
    names = ["unknown", *types, "no nucleus"]
    rows = [k for k in range(len(names)) if confusion[k].any()]
    columns = [k for k in range(len(names)) if confusion[:, k].any()]
    titles = [
        {0: "no type", len(names) - 1: "missed"}.get(k, names[k]) for k in columns
    ]
    head = _row([corner, *titles, "all"], "th")
    lines = "".join(
        f"<tr><th>{escape(_row_name(k, names))}</th>"
        + "".join(_heat(confusion, k, j) for j in columns)
        + f'<td class="right">{confusion[k].sum():,}</td></tr>'
        for k in rows
    )
    return _table(f"<thead>{head}</thead><tbody>{lines}</tbody>")


def _row_name(k: int, names: Sequence[str]) -> str:
    return "invented" if k == len(names) - 1 else names[k]


def _heat(confusion: Ints, row: int, column: int) -> str:
    """Return a cell; what is neither there nor found can't be counted."""
    if row == column == len(confusion) - 1:
        return "<td></td>"
    count = int(confusion[row, column])
    share = count / confusion[row].sum()
    colour = "var(--good)" if row == column else "var(--bad)"
    shade = f"color-mix(in srgb, {colour} {share * 75:.0f}%, transparent)"
    return (
        f'<td class="right" style="background:{shade};padding-right:8px">'
        f'{count:,} <span class="faint">{share:.0%}</span></td>'
    )


def _both(name: str, row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return two lines: means over images, and scores of added counts."""
    pooled = {**row["pooled"], **{n: row.get(n) for n in POOLED_ONLY}}
    means = {n: row.get(n) for n in names if n not in POOLED_ONLY}
    set_cell = (
        f'<td rowspan="2"><b>{escape(name)}</b><br><span class="faint">'
        f"{row['n_images']} images, {row['n_nuclei']:,} nuclei</span></td>"
    )
    return (
        f"<tr>{set_cell}<td>mean</td>{_cells(means, names)}</tr>"
        f'<tr><td class="faint">pooled</td>{_cells(pooled, names)}</tr>'
    )


def _cells(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return "".join(_cell(row.get(name)) for name in names)


def _cell(value: float | None) -> str:
    """Return a score with a bar of its length behind it."""
    if value is None:
        return f'<td class="right faint">{NOTHING}</td>'
    bar = "color-mix(in srgb, var(--accent) 22%, transparent)"
    shade = f"linear-gradient(to right, {bar} {value:.0%}, transparent {value:.0%})"
    return (
        f'<td class="right score" style="background:{shade}">{score_text(value)}</td>'
    )


def _shown(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) is not None


def _row(cells: Sequence[str], tag: str) -> str:
    first, *rest = cells
    right = "".join(f'<{tag} class="right">{escape(cell)}</{tag}>' for cell in rest)
    return f"<tr><{tag}>{escape(first)}</{tag}>{right}</tr>"


def _table(rows: str) -> str:
    return f'<div class="scroll"><table>{rows}</table></div>'
