"""From the nuclei that detectors found to the label map of a box: painting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap
from segpipe.geometry import Box
from segpipe.labels.detections import Detections, Unpacked
from segpipe.labels.renaming import in_raster_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """A label map and which mask each of its ids is."""

    labels: LabelMap
    """(Y, X) int32; 0 is background, ids are 1..n in raster order of first pixel."""
    masks: NDArray[np.int64]
    """(n,) row, among the masks painted, of each id."""


def paint(masks: Detections, box: Box) -> Painted:
    """Paint disjoint masks.

    Parameters
    ----------
    masks
        No two share a pixel of the box (``segpipe.stitching.contested``); those that
        lie outside it are left out.
    box : Box
        In the frame of the masks.
    """
    labels = np.zeros(box.shape, np.int32)
    _paint(labels, masks.unpacked(), box.y0, box.x0)
    names = in_raster_order(labels, len(masks))[1:]
    shown = np.flatnonzero(names)
    return Painted(labels=labels, masks=shown[np.argsort(names[shown])])


@njit(cache=True, nogil=True)
def _paint(labels: LabelMap, masks: Unpacked, y0: int, x0: int) -> None:
    for i in range(len(masks.boxes)):
        top, left, bottom, right = masks.boxes[i]
        at = masks.firsts[i]
        for y in range(top - y0, bottom - y0):
            for x in range(left - x0, right - x0):
                inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
                if inside and masks.pixels[at]:
                    labels[y, x] = i + 1
                at += 1
