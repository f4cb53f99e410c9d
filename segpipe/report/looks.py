"""Pictures with captions and a legend of their colours, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from segpipe.tables.palette import RGBTriple


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A picture of what went wrong in an image, or of where runs differ."""

    source: str
    """For the ``src`` of an HTML image."""
    caption: str


def pictured(looks: Sequence[Look], legend: Mapping[str, RGBTriple]) -> str:
    """Return pictures beside each other, and below them what their colours mean."""
    figures = "".join(
        f'<figure><img alt="{escape(look.caption)}" src="{look.source}">'
        f"<figcaption>{escape(look.caption)}</figcaption></figure>"
        for look in looks
    )
    meanings = "".join(
        f"<span>{dot(colour)}{name}</span>" for name, colour in legend.items()
    )
    return f'<div class="looks">{figures}</div><div class="legend">{meanings}</div>'


def dot(colour: RGBTriple) -> str:
    """Return a dot of a colour, for a legend."""
    return f'<i style="background:{css(colour)}"></i>'


def css(colour: RGBTriple) -> str:
    """Return a colour as style sheets write it."""
    return f"rgb{colour}"
