"""Which places of a slide are worth a closer look: dense and typical ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import RGB, LabelMap
from segpipe.geometry import Box

SIDE_UM = 128.0
"""Side of a detail: some tens of nuclei."""
_QUANTILES = (1.0, 0.5, 0.75)
"""Places to show, by the share of nuclei that lie in places no denser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A small box at full resolution, with what was found in it."""

    box: Box
    """Where, on the canvas."""
    rgb: RGB
    """Pixels of the box."""
    labels: LabelMap
    """Label map of the box."""
    type_ids: NDArray[np.uint8] | None = None
    """(max id + 1,) type by id, or None if untyped."""


def choose_boxes(
    y_px: NDArray[np.float64],
    x_px: NDArray[np.float64],
    *,
    canvas_shape: tuple[int, int],
    side_px: int,
) -> tuple[Box, ...]:
    """Choose up to three disjoint boxes, from the densest to where most nuclei lie.

    Parameters
    ----------
    y_px, x_px : (N,) float
        Centroids in canvas pixels.
    canvas_shape
        Height and width of the canvas.
    side_px
        Side of a box; less where the canvas is smaller.

    Returns
    -------
    tuple of Box
        On the canvas. Fewer than three if nuclei lie in fewer places; none without
        nuclei. The same for the same nuclei in any order.
    """
    rows, y0, height = _cells(canvas_shape[0], side_px)
    cols, x0, width = _cells(canvas_shape[1], side_px)
    counts, *_ = np.histogram2d(
        y_px,
        x_px,
        bins=(y0 + height * np.arange(rows + 1), x0 + width * np.arange(cols + 1)),
    )
    by_count = np.argsort(counts.ravel(), kind="stable")
    n_up_to = np.cumsum(counts.ravel()[by_count])
    if n_up_to[-1] == 0:
        return ()
    ranks = np.searchsorted(n_up_to, np.array(_QUANTILES) * n_up_to[-1])
    chosen = list(dict.fromkeys(by_count[ranks].tolist()))
    corners = [(y0 + c // cols * height, x0 + c % cols * width) for c in chosen]
    return tuple(Box(y, x, y + height, x + width) for y, x in corners)


def _cells(length: int, side_px: int) -> tuple[int, int, int]:
    """Return how many cells fit into a length, where they start, and their side."""
    side = min(side_px, length)
    n_cells = length // side
    return n_cells, (length - n_cells * side) // 2, side
