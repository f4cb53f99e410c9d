"""Outlines of instances, and the line between those that touch."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, Mask
from segpipe.targets._dense import dense_ids


def contour_target(labels: LabelMap, width_px: float) -> NDArray[np.float32]:
    """Return 1 on the outlines of instances, half of the width on either side.

    A pixel is on an outline if a pixel of another label (background or another
    instance) lies within half the width: 2 takes the pixels on both sides of an edge,
    3 their diagonal neighbours too. The edge of the patch is no outline.

    Parameters
    ----------
    labels : (Y, X) int
        Any ids; 0 is background.
    width_px
        At least 2, or nothing is drawn.

    Returns
    -------
    (Y, X) float32

    References
    ----------
    Chen et al. 2016, *DCAN*, section 2.2: contours dilated by a disc.
    """
    dense = dense_ids(labels).astype(np.float32)
    disc = _disc(width_px / 2)
    mixed = cv2.dilate(dense, disc) != cv2.erode(dense, disc)
    return np.asarray(mixed, np.float32)


def separation_line(labels: LabelMap, width_px: float = 2) -> Mask:
    """Return where instances touch: their pixels within half the width of another one.

    What is left of the instances has no two that are neighbours.

    Parameters
    ----------
    labels : (Y, X) int
    width_px
        Width of the line, half of it in either instance.

    Returns
    -------
    (Y, X) bool
        True only inside instances.

    References
    ----------
    Ronneberger et al. 2015, *U-Net*, section 3: background parts touching cells.
    """
    dense = dense_ids(labels).astype(np.float32)
    disc = _disc(width_px / 2)
    lowest = cv2.erode(np.where(dense > 0, dense, np.inf).astype(np.float32), disc)
    line: Mask = (dense > 0) & (cv2.dilate(dense, disc) != lowest)
    return line


def _disc(radius: float) -> NDArray[np.uint8]:
    reach = int(radius)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc: NDArray[np.uint8] = (y**2 + x**2 <= radius**2).astype(np.uint8)
    return disc
