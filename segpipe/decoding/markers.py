"""Markers, one per nucleus: pieces of what is inside for sure."""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap


def marker_pieces(
    inside: NDArray[np.uint8], *, open_px: int, min_px: int
) -> tuple[LabelMap, int]:
    """Return the 4-connected pieces of a mask, opened, without the too small ones.

    Local: whether a pixel is in a marker depends on its surroundings up to
    ``2 * open_px + min_px - 1``. Beyond the border the opening sees what is inside; see
    `segpipe.decoding.cuts`.

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
    n_ids, labels = cv2.connectedComponents(inside, connectivity=4, ltype=cv2.CV_32S)
    markers = np.asarray(labels, np.int32)
    _drop_small(markers, n_ids, min_px)
    return markers, n_ids


@njit(cache=True, nogil=True)
def _drop_small(labels: LabelMap, n_ids: int, min_px: int) -> None:
    """Make background of the pieces of fewer pixels, in place."""
    area = np.zeros(n_ids, np.int64)
    for label in labels.flat:
        area[label] += 1
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if area[labels[y, x]] < min_px:
                labels[y, x] = 0
