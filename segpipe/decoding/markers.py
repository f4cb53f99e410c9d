"""Markers, one per nucleus: pieces of what is inside for sure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap


def marker_pieces(
    inside: NDArray[np.uint8], *, open_px: int, min_px: int
) -> tuple[LabelMap, int]:
    """Return the 4-connected pieces of a mask, opened, without the too small ones.

    Local: whether a pixel is in a marker depends on its surroundings up to
    ``2 * open_px + min_px - 1``.

    Parameters
    ----------
    inside : (Y, X) uint8
        1 where a marker may be.
    open_px
        Radius of the opening that parts pieces held together by a thread.
    min_px
        Pieces of fewer pixels are noise.

    Returns
    -------
    markers : (Y, X) int32
        One id per piece, 0 elsewhere.
    n_ids : int
        No id is above this.
    """
    if open_px:
        side = 2 * open_px + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        inside = np.asarray(cv2.morphologyEx(inside, cv2.MORPH_OPEN, disc), np.uint8)
    n_labels, labels, stats, _ = cv2.connectedComponentsWithStats(
        inside, connectivity=4, ltype=cv2.CV_32S
    )
    too_small = stats[:, cv2.CC_STAT_AREA] < min_px
    names = np.where(too_small, 0, np.arange(n_labels, dtype=np.int32)).astype(np.int32)
    # OpenCV's background, which is no marker, is label 0.
    return names[labels], int(n_labels)
