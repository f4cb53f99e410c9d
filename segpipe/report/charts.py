"""Small charts as inline SVG, drawn in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

_WIDTH = 360
_HEIGHT = 168
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 24, 26
_N_BINS = 40
_SHOWN = (0.002, 0.998)
"""Quantiles between which a histogram is drawn: a few giants would hide the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a chart."""

    label: str
    """What it stands for."""
    value: float
    """How long it is."""
    text: str
    """The value as shown."""
    colour: str = "var(--accent)"
    """Any CSS colour."""


def histogram(values: ArrayLike, *, unit: str = "") -> str:
    """Draw the distribution of numbers, with their median.

    Parameters
    ----------
    values : (N,) float
        Numbers; NaN are left out.
    unit
        Written behind the numbers of the axis.

    Returns
    -------
    str
        An ``svg`` element, or a line of text if there are no numbers.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if known.size == 0:
        return _nothing("No values")
    low, high = np.quantile(known, _SHOWN, method="nearest")
    high = high if high > low else low + 1
    counts, edges = np.histogram(known, _N_BINS, (low, high))
    tips = [
        f"{_number(a)} to {_number(b)}{_unit(unit)}: {count:,}"
        for a, b, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    at = float((np.median(known) - low) / (high - low))
    ends = _axis(_number(low), _number(high) + _unit(unit))
    return _svg(_columns(counts / counts.max(), tips) + _median(at, known, unit) + ends)


def ratios(
    observed: NDArray[np.float64], expected: NDArray[np.float64], *, end: str
) -> str:
    """Draw observed over expected counts, with the spread that chance alone gives.

    Parameters
    ----------
    observed, expected : (N,) float
        Counts in bins of equal width, from 0.
    end
        Label of the axis's far end.
    """
    bins = np.flatnonzero(expected > 0)
    step = (_WIDTH - _LEFT - _RIGHT) / max(expected.size, 1)
    marks = [
        _dot(observed[i] / expected[i], expected[i], (i + 0.5) * step) for i in bins
    ]
    one = _ratio_y(1)
    line = _level("rule", one)
    text = f'<text x="{_LEFT}" y="{one - 26}">observed / expected</text>'
    return _svg(line + text + "".join(marks) + _axis("0", end))


def bars(rows: Sequence[Bar]) -> str:
    """Draw labelled horizontal bars."""
    if not rows:
        return _nothing("Nothing to show")
    longest = max(row.value for row in rows) or 1
    return (
        '<div class="bars">'
        + "".join(
            f"<span>{escape(row.label)}</span>"
            f'<i style="width:{row.value / longest * 100:.2f}%;'
            f'background:{row.colour}"></i>'
            f"<b>{escape(row.text)}</b>"
            for row in rows
        )
        + "</div>"
    )


def stack(rows: Sequence[Bar]) -> str:
    """Draw shares of a whole as one bar, with a legend."""
    total = sum(row.value for row in rows)
    if total <= 0:
        return _nothing("No times")
    parts = "".join(
        f'<i style="width:{row.value / total * 100:.2f}%;background:{row.colour}" '
        f'title="{escape(row.label)}: {escape(row.text)}"></i>'
        for row in rows
    )
    legend = "".join(
        f'<span><i style="background:{row.colour}"></i>{escape(row.label)} '
        f"<b>{escape(row.text)}</b></span>"
        for row in rows
    )
    return f'<div class="stack">{parts}</div><div class="legend">{legend}</div>'


def _svg(content: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{content}</svg>'


def _columns(heights: NDArray[np.float64], tips: Sequence[str]) -> str:
    step = (_WIDTH - _LEFT - _RIGHT) / len(heights)
    room = _HEIGHT - _TOP - _BOTTOM
    return "".join(
        f'<rect x="{_LEFT + i * step:.2f}" y="{_TOP + room * (1 - height):.2f}" '
        f'width="{step - 1:.2f}" height="{room * height:.2f}">'
        f"<title>{escape(tip)}</title></rect>"
        for i, (height, tip) in enumerate(zip(heights, tips, strict=True))
    )


def _median(at: float, values: NDArray[np.float64], unit: str) -> str:
    """Mark the median, its text on the side with more room."""
    x = _LEFT + at * (_WIDTH - _LEFT - _RIGHT)
    side, anchor = (5, "start") if at < 0.5 else (-5, "end")
    text = f"median {_number(float(np.median(values)))}{_unit(unit)}"
    return (
        f'<line class="median" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 12}" '
        f'y2="{_HEIGHT - _BOTTOM}"/><text class="strong" x="{x + side:.1f}" '
        f'y="{_TOP - 8}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _axis(start: str, end: str) -> str:
    y, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    return (
        _level("axis", y)
        + f'<text x="{_LEFT}" y="{y + 17}">{escape(start)}</text>'
        + f'<text x="{right}" y="{y + 17}" text-anchor="end">{escape(end)}</text>'
    )


def _level(style: str, y: float) -> str:
    """Draw a line from side to side."""
    return (
        f'<line class="{style}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
    )


def _dot(ratio: float, expected: float, at: float) -> str:
    """Draw a ratio with two standard deviations of a Poisson count around it."""
    x = _LEFT + at
    spread = 2 / np.sqrt(expected)
    low, high = _ratio_y(ratio - spread), _ratio_y(ratio + spread)
    return (
        f'<line class="spread" x1="{x:.1f}" x2="{x:.1f}" y1="{low}" y2="{high}"/>'
        f'<circle cx="{x:.1f}" cy="{_ratio_y(ratio)}" r="3.5">'
        f"<title>{ratio:.2f} of {expected:.0f} expected</title></circle>"
    )


def _ratio_y(ratio: float) -> float:
    """Height of a ratio, 0 to 2 from bottom to top."""
    room = _HEIGHT - _TOP - _BOTTOM
    return round(_TOP + room * (1 - min(max(ratio / 2, 0), 1)), 1)


def _nothing(text: str) -> str:
    return f'<p class="faint">{escape(text)}</p>'


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
