"""The colour of each nucleus type: the same in pictures, charts and other programs."""

from __future__ import annotations

RGBTriple = tuple[int, int, int]

UNTYPED: RGBTriple = (0, 214, 143)
"""Nuclei without a type: a green that neither stain has."""
_TYPES: tuple[RGBTriple, ...] = (
    (255, 196, 0),
    (0, 209, 255),
    (57, 255, 20),
    (255, 59, 48),
    (0, 92, 255),
    (255, 128, 0),
    (190, 80, 255),
    (140, 140, 140),
)
"""Colours of types 1, 2, …: bright on pink and violet, and apart from each other."""

IN_A: RGBTriple = (0, 110, 255)
"""Of two runs, what the first found. Blue and orange differ for everyone."""
IN_B: RGBTriple = (255, 132, 0)
"""What the second found."""
OTHER_TYPE: RGBTriple = (214, 40, 190)
"""What both found and type otherwise."""


def colour_of(type_id: int) -> RGBTriple:
    """Return R, G, B in 0..255 of a type; past the last the colours begin again."""
    return _TYPES[(type_id - 1) % len(_TYPES)] if type_id else UNTYPED
