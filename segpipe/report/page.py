"""The parts that pages are made of, and the page around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from segpipe.report.charts import Bar, stack
from segpipe.report.style import CSS
from segpipe.tables.slides import STAGES, SlideRow

_STAGE_COLOURS = ("#8ecae6", "#5b4bc4", "#2a9d8f", "#e9c46a", "#e76f51")


def page(title: str, body: Sequence[str]) -> str:
    """Return a whole page that loads nothing."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · segpipe</title><style>{CSS}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def card(title: str, content: str) -> str:
    """Return a titled box; ``content`` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def numbers(numbers: Mapping[str, str]) -> str:
    """Return a row of large numbers with their names."""
    cards = "".join(
        f'<div class="number"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in numbers.items()
    )
    return f'<div class="numbers">{cards}</div>'


def facts(title: str, facts: Mapping[str, str]) -> str:
    """Return a table behind a fold."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>"
        for name, value in facts.items()
    )
    summary = f"<summary>{escape(title)}</summary>"
    return f"<section><details>{summary}<table>{lines}</table></details></section>"


def stages(rows: Sequence[SlideRow]) -> str:
    """Return where the time of some slides went."""
    totals = {stage: sum(row.seconds.get(stage, 0) for row in rows) for stage in STAGES}
    return stack(
        [
            Bar(label=stage, value=total, text=f"{total:,.1f} s", colour=colour)
            for (stage, total), colour in zip(
                totals.items(), _STAGE_COLOURS, strict=True
            )
        ]
    )
