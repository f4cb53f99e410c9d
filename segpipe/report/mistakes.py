"""A picture of what was found in an image beside the truth, mistakes marked."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from segpipe.arrays import RGB, LabelMap, Mask
from segpipe.geometry import Box
from segpipe.metrics.counts import MATCH_IOU
from segpipe.metrics.overlap import overlap
from segpipe.report.overlays import inner_outlines
from segpipe.tables.palette import RGBTriple

SIDE_PX = 384
"""Longest side of what is shown of an image, in its own pixels."""
_DRAWN_PX = 768
RIGHT: RGBTriple = (0, 196, 120)
TRUTH: RGBTriple = (24, 24, 37)
MISSED: RGBTriple = (255, 214, 10)
INVENTED: RGBTriple = (255, 45, 60)
OUTLINED_BADLY: RGBTriple = (255, 130, 30)
"""Where what was missed and what was invented overlap."""
_VEIL = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """Where truth and label map agree, and where not."""

    right: LabelMap
    """(Y, X) found instances that match a true one."""
    matched: LabelMap
    """(Y, X) true instances that are matched."""
    missed: LabelMap
    """(Y, X) true instances that are not."""
    invented: LabelMap
    """(Y, X) found instances that match none."""


def mistakes(truth: LabelMap, found: LabelMap) -> Mistakes:
    """Part two label maps by whether an instance has a partner above an IoU of 0.5."""
    table = overlap(truth, found)
    pairs = table.iou > MATCH_IOU
    matched = np.isin(truth, table.truth_ids[table.truth[pairs]]) & (truth > 0)
    right = np.isin(found, table.found_ids[table.found[pairs]]) & (found > 0)
    return Mistakes(
        right=np.where(right, found, 0),
        matched=np.where(matched, truth, 0),
        missed=np.where(matched, 0, truth),
        invented=np.where(right, 0, found),
    )


def draw_mistakes(
    rgb: RGB, truth: LabelMap, found: LabelMap, *, at_mistakes: bool
) -> RGB:
    """Draw the part of an image with most mistakes, or with most matches, enlarged.

    Matches have the outline that was found over the true one; what was missed and what
    was invented is veiled.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        The image.
    truth, found : (Y, X) int
        Label maps of its shape.
    at_mistakes
        Whether to show where mistakes are dense, or where matches are.
    """
    parts = mistakes(truth, found)
    wrong = (parts.missed > 0) | (parts.invented > 0)
    box = densest(wrong if at_mistakes else parts.right > 0, SIDE_PX)
    rows, columns = box.slices()
    scale = _DRAWN_PX / max(box.height, box.width)
    size = max(round(box.width * scale), 1), max(round(box.height * scale), 1)
    drawn = cv2.resize(rgb[rows, columns], size, interpolation=cv2.INTER_CUBIC)

    def enlarged(labels: LabelMap) -> LabelMap:
        part = np.ascontiguousarray(labels[rows, columns]).astype(np.float64)
        grown = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)
        return np.asarray(grown).astype(np.int32)

    missed, invented = enlarged(parts.missed) > 0, enlarged(parts.invented) > 0
    for inside, colour in (
        (missed & ~invented, MISSED),
        (invented & ~missed, INVENTED),
        (missed & invented, OUTLINED_BADLY),
    ):
        drawn[inside] = drawn[inside] * (1 - _VEIL) + np.array(colour) * _VEIL
    for labels, colour, width_px in (
        (parts.matched, TRUTH, 1),
        (parts.right, RIGHT, 2),
        (parts.missed, MISSED, 3),
        (parts.invented, INVENTED, 2),
    ):
        drawn[_lines(enlarged(labels), width_px)] = colour
    return np.asarray(drawn)


def densest(mask: Mask, side_px: int) -> Box:
    """Return the square of a side, cut to the array, that holds most of a mask."""
    height, width = (min(side_px, side) for side in mask.shape)
    corners = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = (
        corners[height:, width:]
        - corners[:-height, width:]
        - corners[height:, :-width]
        + corners[:-height, :-width]
    )
    y0, x0 = np.unravel_index(int(sums.argmax()), sums.shape)
    return Box(int(y0), int(x0), int(y0) + height, int(x0) + width)


def _lines(labels: LabelMap, width_px: int) -> Mask:
    """Return outlines just inside instances."""
    lines = inner_outlines(labels).astype(np.uint8)
    if width_px > 1:
        lines = cv2.dilate(lines, np.ones((width_px, width_px), np.uint8))
    return (np.asarray(lines) > 0) & (labels > 0)
