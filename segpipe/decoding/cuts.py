"""Along a cut the filters of a decoder see a border where the image goes on.

What they make of it may be a marker that isn't there. Though far from the tile's core,
it can join two markers that reach into the core and are two::

      core │ halo     cut
      ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓│        here both strands are one marker in the tile, through
           │         ▓│ ◄──   what only the cut lets through
      ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓│

So a tile is decoded with nothing along its cuts: it may miss markers there, which its
neighbours see, but every marker it has is one of the slide.
"""

from __future__ import annotations

from segpipe.arrays import ProbMap
from segpipe.geometry import Box


def blanked(prob: ProbMap, box: Box, whole: Box, blind_px: int) -> ProbMap:
    """Return a box of the probability map with nothing along the sides that are cuts.

    Parameters
    ----------
    prob : (Y, X) uint8
        The map of ``box``.
    box
        Where it lies.
    whole
        The canvas. A side of the box that is one of the canvas is no cut.
    blind_px
        How far from a cut nothing is to be left; the decoding says.
    """
    seen = Box(
        box.y0 if box.y0 == whole.y0 else box.y0 + blind_px,
        box.x0 if box.x0 == whole.x0 else box.x0 + blind_px,
        box.y1 if box.y1 == whole.y1 else box.y1 - blind_px,
        box.x1 if box.x1 == whole.x1 else box.x1 - blind_px,
    ).relative_to(box)
    left = prob.copy()
    left[: seen.y0] = 0
    left[seen.y1 :] = 0
    left[:, : seen.x0] = 0
    left[:, seen.x1 :] = 0
    return left
