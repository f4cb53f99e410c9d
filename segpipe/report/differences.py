"""A picture of what two runs found in one place: both outlines, differences veiled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import RGB, Mask
from segpipe.tables.pairs import ONLY_A, ONLY_B
from segpipe.tables.pairs import OTHER_TYPE as TYPED_OTHERWISE
from segpipe.tables.palette import IN_A, IN_B, OTHER_TYPE, RGBTriple

BOTH: RGBTriple = (0, 214, 143)
"""Where the lines of both runs lie on each other."""
VEILS = {ONLY_A: IN_A, ONLY_B: IN_B, TYPED_OTHERWISE: OTHER_TYPE}
"""Colour of the veil over what differs, by status."""
_VEIL = 0.33
_LINE_PX = 2
_SHIFT = 4
"""Bits of a pixel's fraction, with which outlines are drawn."""

Ring = NDArray[np.float64]
"""(N, 2) x, y of the corners, in pixels of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The outline of a nucleus, as a run found it."""

    rings: Sequence[Ring]
    """The exterior, then holes."""
    run: Literal["A", "B"]
    status: str
    """What became of it: matched, only A, only B, other type."""


def draw_differences(rgb: RGB, outlines: Iterable[Outline]) -> RGB:
    """Draw the outlines of two runs over pixels.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        Pixels, as large as they are to be shown.
    outlines
        What to draw.

    Returns
    -------
    (Y, X, 3) uint8
        A copy.
    """
    known = list(outlines)
    drawn = rgb.copy()
    for status, colour in VEILS.items():
        inside = np.zeros(rgb.shape[:2], np.uint8)
        for one in known:
            if one.status == status:
                cv2.fillPoly(inside, _fixed(one.rings), 1, shift=_SHIFT)
        veiled = inside > 0
        drawn[veiled] = drawn[veiled] * (1 - _VEIL) + np.array(colour) * _VEIL
    in_a, in_b = (_lines(rgb, known, run) for run in ("A", "B"))
    drawn[in_a] = IN_A
    drawn[in_b] = IN_B
    drawn[in_a & in_b] = BOTH
    return drawn


def _lines(rgb: RGB, outlines: Iterable[Outline], run: str) -> Mask:
    lines = np.zeros(rgb.shape[:2], np.uint8)
    for one in outlines:
        if one.run == run:
            cv2.polylines(
                lines,
                _fixed(one.rings),
                isClosed=True,
                color=1,
                thickness=_LINE_PX,
                shift=_SHIFT,
            )
    return lines > 0


def _fixed(rings: Iterable[Ring]) -> list[NDArray[np.int32]]:
    """Return corners with fractions of a pixel; cv2 counts from pixel centres."""
    scale = 1 << _SHIFT
    return [np.rint((ring - 0.5) * scale).astype(np.int32) for ring in rings]
