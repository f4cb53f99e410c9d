"""Whose is a pixel that several nuclei claim: the watershed between their depths.

Each mask is a basin as deep at a pixel as the pixel is far from the mask's outline. A
contested pixel belongs to the mask it lies deepest in; of equally deep ones to that of
the higher score, then to the first in the order of windows. So two discs part along the
line through the points where their outlines cross.

::

    depth in a      depth in b          whose
    1 1 1 1 .       . . . . .           a a a a .
    1 2 2 1 .       . 1 1 1 1           a a a b b      (here both claim the third
    1 2 2 1 .       . 1 2 2 1           a a b b b       and fourth columns)
    1 1 1 1 .       . 1 1 1 1           a a a b b

Whose a pixel is depends on the masks that claim it and on nothing beyond them.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.geometry import Box
from segpipe.labels.detections import Detections, Unpacked, concatenated
from segpipe.labels.masks import (
    SharedPixels,
    common_box,
    one_piece,
    row_start,
    shared_pixels,
)
from segpipe.stitching.ownership import (
    Claims,
    Ownership,
    in_order,
    support_px,
    survivors,
)

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Depths = NDArray[np.uint16]


def nuclei_in(box: Box, parts: list[Claims], ownership: Ownership) -> Detections:
    """Return the nuclei of a box: disjoint, 4-connected, the same for any box.

    Parameters
    ----------
    box : Box
        In canvas pixels.
    parts
        Claims of the windows in ``ownership.windows_of(box)``, or of more, in any
        order.
    ownership
        The constants.

    Returns
    -------
    Detections
        Every nucleus of the slide with a pixel in the box, with all its pixels; others
        may be left out or in, and then may hold pixels too many.
    """
    largest_px = max((part.largest_px for part in parts), default=1)
    deciding = box.grown(support_px(max(largest_px, 1)))
    claims = in_order([_reaching(part, deciding) for part in parts])
    shared = shared_pixels(claims.detections)
    kept = survivors(claims, shared, ownership.lattice)
    nuclei = divided(claims.detections.take(kept), shared.among(kept))
    return nuclei.take(_near(nuclei, box))


def _reaching(part: Claims, box: Box) -> Claims:
    rows = _near(part.detections, box)
    return part if rows.all() else part.take(rows)


def _near(masks: Detections, box: Box) -> NDArray[np.bool_]:
    """Whether the boxes of masks share a pixel with a box."""
    y0, x0, y1, x1 = masks.boxes.T
    near: NDArray[np.bool_] = (
        (y0 < box.y1) & (x0 < box.x1) & (y1 > box.y0) & (x1 > box.x0)
    )
    return near


def divided(masks: Detections, shared: SharedPixels) -> Detections:
    """Give each contested pixel to one of its claimants.

    What a mask has left is cut to its largest 4-connected piece; the crumbs become
    background. A mask of which nothing is left is gone.

    Parameters
    ----------
    masks
        In one 4-connected piece each.
    shared
        Their shared pixels.
    """
    touched = np.zeros(len(masks), np.bool_)
    touched[shared.one] = touched[shared.other] = True
    rows, alone = np.flatnonzero(touched), np.flatnonzero(~touched)
    parted, kept = _parted(masks.take(rows), shared.among(touched))
    order = np.argsort(np.concatenate([alone, rows[kept]]))
    return concatenated([masks.take(alone), parted]).take(order)


def _parted(masks: Detections, shared: SharedPixels) -> tuple[Detections, Ints]:
    """Divide masks that all share pixels; also return which are left."""
    unpacked = masks.unpacked()
    _give(unpacked, _depths(unpacked), masks.scores, shared.one, shared.other)
    parted = Detections.packed(unpacked, masks.scores, masks.types)
    return one_piece(parted)


@njit(cache=True, nogil=True)
def _depths(masks: Unpacked) -> Depths:
    """Count the steps (4-connected) from each pixel of a mask out of it, from 1."""
    pixels = masks.pixels
    depths = np.zeros(len(pixels), np.uint16)
    for i in range(len(masks.boxes)):
        y0, x0, y1, x1 = masks.boxes[i]
        width, at = x1 - x0, masks.firsts[i]
        for y in range(y0, y1):
            for x in range(x0, x1):
                if pixels[at]:
                    above = depths[at - width] if y > y0 else 0
                    left = depths[at - 1] if x > x0 else 0
                    depths[at] = min(above, left) + 1
                at += 1
        for y in range(y1 - 1, y0 - 1, -1):
            for x in range(x1 - 1, x0 - 1, -1):
                at -= 1
                if pixels[at]:
                    below = depths[at + width] if y < y1 - 1 else 0
                    right = depths[at + 1] if x < x1 - 1 else 0
                    depths[at] = min(depths[at], min(below, right) + 1)
    return depths


@njit(cache=True, nogil=True)
def _give(
    masks: Unpacked, depths: Depths, scores: Bytes, one: Ints, other: Ints
) -> None:
    """Clear contested pixels in all masks but the first by depth, score and row.

    The order is total and depths are those of the whole masks, so the order of pairs
    is nothing.
    """
    for pair in range(len(one)):
        i, j = one[pair], other[pair]
        y0, x0, y1, x1 = common_box(masks, i, j)
        for y in range(y0, y1):
            row_i, row_j = row_start(masks, i, y), row_start(masks, j, y)
            for x in range(x0, x1):
                p, q = row_i + x, row_j + x
                if depths[p] == 0 or depths[q] == 0:
                    continue
                if depths[p] > depths[q] or (
                    depths[p] == depths[q] and scores[i] >= scores[j]
                ):
                    masks.pixels[q] = 0
                else:
                    masks.pixels[p] = 0
