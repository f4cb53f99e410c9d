"""Charts of values from 0 to 1 as inline SVG: curves, and columns in order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from segpipe.metrics.curves import RECALLS, best_f1, interpolated
from segpipe.metrics.overlap import Floats
from segpipe.metrics.ranking import IOUS, Ranking
from segpipe.metrics.reliability import Bins
from segpipe.report.scores import score_text

_WIDTH, _HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 10, 26, 40
_TICKS = (0, 0.25, 0.5, 0.75, 1)
_LEVELS = ((0, "var(--accent)"), (5, "#2a9d8f"), (8, "#e76f51"))
"""Demands on the IoU that are drawn, by place in ``IOUS``, and their colours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a chart, in the unit square."""

    x: Floats
    y: Floats
    label: str
    colour: str


def precision_recall(ranking: Ranking) -> str:
    """Draw precision over recall at IoU .5, .75 and .9, and the point of best F1."""
    lines = [_level(ranking, level, colour) for level, colour in _LEVELS]
    best = best_f1(ranking)
    mark = ""
    if best is not None:
        label = f"F1 {best.f1:.3f} at score ≥ {best.threshold:.2f}"
        mark = _point(best.recall, best.precision, label)
    drawn = "".join(_polyline(line) for line in lines) + mark
    return _square(drawn, "recall", "precision") + _legend(lines)


def _level(ranking: Ranking, level: int, colour: str) -> Line:
    precision = interpolated(ranking, level)
    ap = score_text(precision.mean() if ranking.n_truth else None)
    label = f"IoU {IOUS[level]:.2f}, AP {ap}"
    return Line(x=RECALLS, y=precision, label=label, colour=colour)


def reliability(binned: Bins) -> str:
    """Draw how often pixels are nucleus over the probability they were given."""
    some = np.flatnonzero(binned.n_px)
    share = np.sqrt(binned.n_px / max(binned.n_px.max(), 1))
    diagonal = _segment("rule", (0, 0), (1, 1))
    dots = "".join(
        f'<circle cx="{_x(binned.said[i]):.1f}" cy="{_y(binned.seen[i]):.1f}" '
        f'r="{2.5 + 5 * share[i]:.1f}"><title>{binned.n_px[i]:,} pixels of probability '
        f"{binned.said[i]:.2f}: {binned.seen[i]:.0%} are nucleus</title></circle>"
        for i in some
    )
    line = Line(
        x=binned.said[some], y=binned.seen[some], label="", colour="var(--accent)"
    )
    return _square(diagonal + _polyline(line) + dots, "probability", "true")


def ordered(values: Mapping[str, float], *, name: str) -> str:
    """Draw a column for each value in [0, 1], the lowest first, and their median.

    Parameters
    ----------
    values
        By what a column stands for; NaN are left out.
    name
        What the values are.
    """
    known = sorted(
        (value, label) for label, value in values.items() if not math.isnan(value)
    )
    if not known:
        return '<p class="faint">No values</p>'
    step = 1 / len(known)
    columns = "".join(
        f'<rect x="{_x(i * step):.2f}" y="{_y(value):.1f}" '
        f'width="{(_x(step) - _x(0)) * 0.85:.2f}" '
        f'height="{_y(0) - _y(value):.1f}"><title>{escape(label)}: {value:.3f}</title>'
        "</rect>"
        for i, (value, label) in enumerate(known)
    )
    middle = float(np.median([value for value, _ in known]))
    median = _segment("median", (0, middle), (1, middle)) + (
        f'<text class="strong halo" x="{_LEFT + 4}" y="{_y(middle) - 6:.1f}">'
        f"median {middle:.3f}</text>"
    )
    return _square(columns + median, f"{len(known):,} images", name, x_ticks=())


def _square(
    content: str, x_name: str, y_name: str, *, x_ticks: Sequence[float] = _TICKS
) -> str:
    """Return axes from 0 to 1 with what is in them."""
    ticks = "".join(
        _segment("axis", (0, at), (1, at))
        + f'<text x="{_LEFT - 6}" y="{_y(at) + 4:.1f}" text-anchor="end">{at:g}</text>'
        for at in _TICKS
    ) + "".join(
        f'<text x="{_x(at):.1f}" y="{_y(0) + 17:.1f}" text-anchor="middle">{at:g}'
        "</text>"
        for at in x_ticks
    )
    names = (
        f'<text x="{_x(0.5):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f'{x_name}</text><text x="2" y="12">{y_name}</text>'
    )
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    return f"<svg {box}>{ticks}{names}{content}</svg>"


def _polyline(line: Line) -> str:
    points = " ".join(
        f"{_x(x):.1f},{_y(y):.1f}" for x, y in zip(line.x, line.y, strict=True)
    )
    style = f"fill:none;stroke:{line.colour};stroke-width:2;stroke-linejoin:round"
    return f'<polyline points="{points}" style="{style}"></polyline>'


def _point(x: float, y: float, label: str) -> str:
    """Mark a point, its text to its lower left, where curves leave room."""
    return (
        f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="5" '
        'style="stroke:var(--card);stroke-width:2"></circle>'
        f'<text class="strong halo" x="{_x(x) - 8:.1f}" y="{_y(y) + 18:.1f}" '
        f'text-anchor="end">{escape(label)}</text>'
    )


def _legend(lines: Sequence[Line]) -> str:
    entries = "".join(
        f'<span><i style="background:{line.colour}"></i>{escape(line.label)}</span>'
        for line in lines
    )
    return f'<div class="legend">{entries}</div>'


def _segment(style: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    return (
        f'<line class="{style}" x1="{_x(start[0]):.1f}" y1="{_y(start[1]):.1f}" '
        f'x2="{_x(end[0]):.1f}" y2="{_y(end[1]):.1f}"/>'
    )


def _x(value: float) -> float:
    return _LEFT + float(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float) -> float:
    return _HEIGHT - _BOTTOM - float(value) * (_HEIGHT - _TOP - _BOTTOM)
