"""Where a measured box lies, and where its nuclei lie on the slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.geometry import Box
from segpipe.tables.crops import Crops
from segpipe.tables.moments import ShapeSums


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a box lies, and what its pixels are worth."""

    box: Box
    """The box on the canvas: the slide at the network's resolution."""
    mpp: float
    """Micrometres per canvas pixel."""
    downsample: float
    """Level-0 pixels per canvas pixel."""
    canvas_shape: tuple[int, int]
    """Height and width of the canvas."""
    window_px: int
    """Period of the lattice of inference windows, in canvas pixels."""
    slide_id: str = ""
    """The slide."""
    type_names: tuple[str, ...] = ()
    """Names of the nucleus types, without background; empty if untyped."""

    def seam_distance_px(
        self, y_px: NDArray[np.float64], x_px: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return how far points of the canvas are from the nearest seam of windows.

        Parameters
        ----------
        y_px, x_px : (N,) float64
            In canvas pixels; the centre of the first is at 0.5.

        Returns
        -------
        (N,) float64
            In canvas pixels; NaN if all of the canvas is one window.
        """
        height, width = self.canvas_shape
        return np.fmin(
            _to_inner_line(y_px, height, self.window_px),
            _to_inner_line(x_px, width, self.window_px),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where nuclei lie on the canvas; (N,) each."""

    y_px: NDArray[np.float64]
    """Centroid; pixel i spans [i, i + 1)."""
    x_px: NDArray[np.float64]
    """Centroid."""
    ymin_px: NDArray[np.int64]
    """First row."""
    xmin_px: NDArray[np.int64]
    """First column."""
    ymax_px: NDArray[np.int64]
    """Row after the last."""
    xmax_px: NDArray[np.int64]
    """Column after the last."""


def places(frame: Frame, crops: Crops, shape: ShapeSums) -> Places:
    """Return where nuclei lie on the canvas.

    The mean over a nucleus's own box is rounded before its corner is added, so that a
    centroid is the same number whatever box the nucleus was cut out in.
    """
    ymin_px, xmin_px, ymax_px, xmax_px = crops.boxes.T
    return Places(
        y_px=(ymin_px + frame.box.y0 + 0.5) + shape.y / crops.area_px,
        x_px=(xmin_px + frame.box.x0 + 0.5) + shape.x / crops.area_px,
        ymin_px=ymin_px + frame.box.y0,
        xmin_px=xmin_px + frame.box.x0,
        ymax_px=ymax_px + frame.box.y0,
        xmax_px=xmax_px + frame.box.x0,
    )


def _to_inner_line(
    at: NDArray[np.float64], length: int, period: int
) -> NDArray[np.float64]:
    """Return the distance to the nearest multiple of ``period`` inside (0, length)."""
    n_lines = (length - 1) // period
    if n_lines == 0:
        return np.full(at.shape, np.nan)
    line: NDArray[np.float64] = np.clip(np.rint(at / period), 1, n_lines)
    return np.abs(at - line * period)
