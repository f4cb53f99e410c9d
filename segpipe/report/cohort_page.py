"""The page about all slides of a run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from segpipe.report.charts import Bar, bars, histogram
from segpipe.report.page import card, numbers, page, stages
from segpipe.tables.slides import SlideRow

_MOST_BARS = 24
"""Slides up to which each has a bar of its own."""


def cohort_page(rows: Sequence[SlideRow]) -> str:
    """Return the page of a run: one HTML file, nothing loaded from afar.

    Parameters
    ----------
    rows
        All slides, done and quarantined, in any order. The pages of slides are linked
        as ``reports/<slide_id>.html``.
    """
    rows = sorted(rows, key=lambda row: row.slide_id)
    done = [row for row in rows if row.status == "done"]
    title = f"{len(rows)} slides" if len(rows) != 1 else "1 slide"
    networks = ", ".join(sorted({row.network for row in done if row.network}))
    body = [
        f"<header><h1>{title}</h1><p>{escape(networks)}</p></header>",
        numbers(_numbers(rows, done)),
        card("Slides", _table(rows)),
        '<div class="charts">',
        card("Nuclei per mm² of tissue", _densities(done)),
        card("Seconds by stage, all slides", stages(done)),
        "</div>",
    ]
    return page(title, body)


def _densities(done: Sequence[SlideRow]) -> str:
    """Return a bar per slide, or the distribution if they are many."""
    if len(done) > _MOST_BARS:
        return histogram([row.nuclei_per_mm2 for row in done])
    ordered = sorted(done, key=lambda row: -row.nuclei_per_mm2)
    return bars(
        [
            Bar(label=row.slide_id, value=value, text=f"{value:,.0f}")
            for row in ordered
            for value in [row.nuclei_per_mm2]
        ]
    )


def _numbers(rows: Sequence[SlideRow], done: Sequence[SlideRow]) -> dict[str, str]:
    tissue_mm2 = sum(row.tissue_mm2 for row in done)
    n_nuclei = sum(row.n_nuclei for row in done)
    seconds = sum(sum(row.seconds.values()) for row in done)
    return {
        "done": f"{len(done)}",
        "quarantined": f"{len(rows) - len(done)}",
        "nuclei": f"{n_nuclei:,}",
        "mm² of tissue": f"{tissue_mm2:,.2f}",
        "seconds": f"{seconds:,.0f}",
    }


def _table(rows: Sequence[SlideRow]) -> str:
    head = "".join(
        f'<th class="{style}">{name}</th>'
        for name, style in [
            ("Slide", ""),
            ("Status", ""),
            ("Nuclei", "right"),
            ("mm²", "right"),
            ("per mm²", "right"),
            ("Seconds", "right"),
        ]
    )
    body = "".join(_line(row) for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _line(row: SlideRow) -> str:
    name = escape(row.slide_id)
    status = f'<td class="{row.status}">{row.status}</td>'
    if row.status == "quarantined":
        return (
            f'<tr><td>{name}</td>{status}<td colspan="4">{escape(row.reason)}</td></tr>'
        )
    numbers = [
        f"{row.n_nuclei:,}",
        f"{row.tissue_mm2:,.2f}",
        f"{row.nuclei_per_mm2:,.0f}",
        f"{sum(row.seconds.values()):,.1f}",
    ]
    cells = "".join(f'<td class="right">{number}</td>' for number in numbers)
    link = f'<a href="reports/{quote(row.slide_id)}.html">{name}</a>'
    return f"<tr><td>{link}</td>{status}{cells}</tr>"
