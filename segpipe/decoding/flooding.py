"""Flooding from markers whose influence ends after a known number of pixels.

Each foreground pixel goes to the marker that reaches it at the least cost, where
entering a pixel costs at least one *step* and more on an edge, and nothing is reached
at more than ``reach_px`` steps. So a path has at most ``reach_px`` pixels, and a pixel
farther than that from a cut in the image can't notice the cut: rule (b) of the design,
exact for any tile, whatever percolates through the foreground (ADR 0003).

Because the cost lies on the pixel that is entered, the first neighbour that is settled
settles the cost: every pixel enters the queue once. Among neighbours of equal cost the
first of north, west, east, south wins, so ties don't depend on the order of the queue,
nor on names of markers.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, Mask
from segpipe.errors import ShapeMismatch

STEP = 4
"""Cost units of one pixel without an edge: the resolution of edge costs."""

MOST_EDGE = 250
"""The largest edge cost that is told apart, so that a step fits a byte."""

_UNREACHED = np.uint16(65535)
_END = np.int32(-1)


def flood(
    markers: LabelMap, edge_cost: NDArray[np.uint8], mask: Mask, *, reach_px: int
) -> LabelMap:
    """Give each pixel of ``mask`` to the marker nearest in cost, up to ``reach_px``.

    Parameters
    ----------
    markers : (Y, X) int32
        Ids of the markers, 0 elsewhere. Markers outside ``mask`` are ignored.
    edge_cost : (Y, X) uint8
        What entering a pixel costs beyond ``STEP``; above ``MOST_EDGE`` it counts as
        that.
    mask : (Y, X) bool
        Where the flood may go.
    reach_px : int
        The flood ends at a cost of ``reach_px * STEP``.

    Returns
    -------
    (Y, X) int32
        Ids of the markers; each id is one 4-connected region if its marker is. Pixels
        that no marker reaches are 0.

    Raises
    ------
    ShapeMismatch
        If the arrays differ in shape.
    ValueError
        If ``reach_px`` is negative or above 10,000.
    """
    if not markers.shape == edge_cost.shape == mask.shape:
        message = (
            f"Flooding needs arrays of one shape; markers are {markers.shape}, "
            f"edge_cost {edge_cost.shape}, mask {mask.shape}."
        )
        raise ShapeMismatch(message)
    if not 0 <= reach_px <= 10_000:
        message = f"reach_px is {reach_px}; it must lie in 0..10000."
        raise ValueError(message)
    labels, entering = _framed(markers, edge_cost, mask)
    _flood(labels.ravel(), entering.ravel(), labels.shape[1], reach_px * STEP)
    return np.ascontiguousarray(labels[1:-1, 1:-1])


@njit(cache=True, nogil=True)
def _framed(
    markers: LabelMap, edge_cost: NDArray[np.uint8], mask: Mask
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Markers within the mask, and the cost of entering a pixel, 0 where none may.

    One pixel of frame spares every border test in the loops.
    """
    height, width = mask.shape
    labels = np.zeros((height + 2, width + 2), np.int32)
    entering = np.zeros((height + 2, width + 2), np.uint8)
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                labels[y + 1, x + 1] = markers[y, x]
                entering[y + 1, x + 1] = STEP + min(MOST_EDGE, edge_cost[y, x])
    return labels, entering


@njit(cache=True, nogil=True)
def _handed(
    labels: NDArray[np.int32],
    cost: NDArray[np.uint16],
    pixel: int,
    settled: int,
    steps: NDArray[np.int64],
) -> int:
    """Return the label of the first neighbour that was settled at this cost."""
    for step in steps:
        if cost[pixel + step] == settled:
            return int(labels[pixel + step])
    return 0


@njit(cache=True, nogil=True)
def _may_spread(
    labels: NDArray[np.int32],
    entering: NDArray[np.uint8],
    pixel: int,
    steps: NDArray[np.int64],
) -> bool:
    """Whether a marker's pixel has a neighbour to give itself to."""
    for step in steps:
        if labels[pixel + step] == 0 and entering[pixel + step] != 0:
            return True
    return False


@njit(cache=True, nogil=True)
def _flood(
    labels: NDArray[np.int32],
    entering: NDArray[np.uint8],
    width: int,
    limit: int,
) -> None:
    """Dial's algorithm: one list of pixels per cost, in ascending cost."""
    cost = np.full(labels.size, _UNREACHED, np.uint16)
    following = np.empty(labels.size, np.int32)
    first = np.full(limit + 1, _END, np.int32)
    steps = np.array([-width, -1, 1, width])
    for pixel in range(labels.size):
        if labels[pixel] != 0:
            cost[pixel] = 0
            if _may_spread(labels, entering, pixel, steps):
                following[pixel] = first[0]
                first[0] = pixel
    for now in range(limit + 1):
        pixel = first[now]
        while pixel != _END:
            if labels[pixel] == 0:
                labels[pixel] = _handed(
                    labels, cost, pixel, now - entering[pixel], steps
                )
            for step in steps:
                neighbour = pixel + step
                if entering[neighbour] and cost[neighbour] == _UNREACHED:
                    then = now + entering[neighbour]
                    if then <= limit:
                        cost[neighbour] = then
                        following[neighbour] = first[then]
                        first[then] = neighbour
            pixel = following[pixel]
