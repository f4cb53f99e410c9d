"""Size and shape of nuclei as whole numbers: moments and crossings, from the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.tables.crops import Crops


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeSums:
    """Sums over the pixels of each nucleus; (N,) int64 each.

    Coordinates count from the corner of the nucleus's own box, so that the sums don't
    depend on where the label map was cut out.
    """

    y: NDArray[np.int64]
    """Sum of the row index."""
    x: NDArray[np.int64]
    """Sum of the column index."""
    yy: NDArray[np.int64]
    """Sum of the squared row index."""
    xx: NDArray[np.int64]
    """Sum of the squared column index."""
    yx: NDArray[np.int64]
    """Sum of row times column index."""
    runs_straight: NDArray[np.int64]
    """Runs of pixels met by all horizontal and vertical lines."""
    runs_diagonal: NDArray[np.int64]
    """Runs of pixels met by all lines along the two diagonals."""


def shape_sums(crops: Crops) -> ShapeSums:
    """Sum over the pixels of each nucleus."""
    sums = _sums(crops.labels, crops.ids, crops.boxes)
    y, x, yy, xx, yx, straight, diagonal = np.ascontiguousarray(sums.T)
    return ShapeSums(
        y=y, x=x, yy=yy, xx=xx, yx=yx, runs_straight=straight, runs_diagonal=diagonal
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipse:
    """Variances of the pixel coordinates of each nucleus: second central moments."""

    yy: NDArray[np.float64]
    """(N,) variance along y."""
    xx: NDArray[np.float64]
    """(N,) variance along x."""
    yx: NDArray[np.float64]
    """(N,) covariance."""

    @property
    def eigenvalues(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Variance along the long and the short axis."""
        mean = (self.yy + self.xx) / 2
        half = np.sqrt(((self.yy - self.xx) / 2) ** 2 + self.yx**2)
        return mean + half, np.maximum(mean - half, 0)


def ellipse(sums: ShapeSums, area_px: NDArray[np.int64]) -> Ellipse:
    """Return the central second moments.

    The origin is first moved to the pixel nearest the centroid, in whole numbers, so
    that the division at the end cancels no leading digits however large the nucleus.
    """
    v, u = sums.y // area_px, sums.x // area_px
    y, x = sums.y - v * area_px, sums.x - u * area_px
    yy = sums.yy - 2 * v * sums.y + v * v * area_px
    xx = sums.xx - 2 * u * sums.x + u * u * area_px
    yx = sums.yx - v * sums.x - u * sums.y + v * u * area_px
    n = area_px.astype(np.float64)
    return Ellipse(
        yy=(yy - y * y / n) / n, xx=(xx - x * x / n) / n, yx=(yx - y * x / n) / n
    )


def crofton_px(sums: ShapeSums) -> NDArray[np.float64]:
    """Perimeter by Crofton's formula in four directions, in pixels.

    Lines of a direction cross a shape twice in each run. Diagonal lines lie closer to
    each other by the square root of two.

    References
    ----------
    Legland, Kiêu, Devaux 2007, Image Analysis & Stereology 26:83-92. Four directions of
    equal weight, as ``skimage.measure.perimeter_crofton``.
    """
    return np.pi / 4 * (sums.runs_straight + sums.runs_diagonal / math.sqrt(2))


@njit(cache=True, nogil=True)
def _sums(
    labels: NDArray[np.uint32], ids: NDArray[np.uint32], boxes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (N, 7): y, x, yy, xx, yx, straight runs, diagonal runs."""
    sums = np.zeros((ids.size, 7), np.int64)
    width = labels.shape[1]
    for row in range(ids.size):
        own = ids[row]
        y0, x0, y1, x1 = boxes[row]
        s_y = s_x = s_yy = s_xx = s_yx = straight = diagonal = 0
        for y in range(y0, y1):
            n = along = along2 = 0
            for x in range(x0, x1):
                if labels[y, x] != own:
                    continue
                n += 1
                along += x - x0
                along2 += (x - x0) * (x - x0)
                straight += x == x0 or labels[y, x - 1] != own
                straight += y == y0 or labels[y - 1, x] != own
                diagonal += y == y0 or x == x0 or labels[y - 1, x - 1] != own
                diagonal += y == y0 or x + 1 == width or labels[y - 1, x + 1] != own
            s_y += (y - y0) * n
            s_yy += (y - y0) * (y - y0) * n
            s_yx += (y - y0) * along
            s_x += along
            s_xx += along2
        sums[row] = s_y, s_x, s_yy, s_xx, s_yx, straight, diagonal
    return sums
