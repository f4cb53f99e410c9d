"""Everything the table says of a nucleus, measured on the nucleus's own pixels.

Sums over pixels are whole numbers, counted from the nucleus's own corner; each column
is then one function of the sums. So a row is the same bytes whatever box the nucleus is
measured in, and whichever nuclei are measured beside it. A column is added by an entry
in ``schema.py`` and a function here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import Maps, Planes
from segpipe.tables.frame import Frame
from segpipe.tables.moments import crofton_px
from segpipe.tables.probabilities import heaviest
from segpipe.tables.schema import Columns, Packed
from segpipe.tables.stains import OD_UNIT
from segpipe.tables.sums import Sums, gather

__all__ = ["Frame", "measure"]

Floats = NDArray[np.floating[Any]]


def measure(
    labels: NDArray[Any],
    ids: NDArray[Any],
    *,
    planes: Planes,
    maps: Maps,
    frame: Frame,
) -> Columns:
    """Measure nuclei.

    Parameters
    ----------
    labels : (Y, X) uint32 or int32
        Label map of a box. Ids that are not asked for are background to the others.
    ids : (N,) integer
        Ids to measure, ascending. Each lies wholly inside the box, in one 4-connected
        piece.
    planes : (3, Y, X) uint8
        Pixels of the box.
    maps
        ``"prob"`` (Y, X) uint8, and ``"type"`` (K, Y, X) uint8 if the network types:
        channel k is type k + 1.
    frame
        Where the box lies.

    Returns
    -------
    Columns
        All columns of the schema, N long, in its order.

    Raises
    ------
    ShapeMismatch
        If arrays differ in height or width, or types and their names in number.
    StageFailed
        If a nucleus is missing from the label map, or in several pieces.
    """
    sums = gather(labels, ids, planes, maps, frame)
    return {column.__name__: column(sums) for column in _COLUMNS}


def slide_id(n: Sums) -> NDArray[np.str_]:
    """As in the frame."""
    return np.full(n.crops.ids.size, n.frame.slide_id)


def nucleus_id(n: Sums) -> NDArray[np.uint32]:
    """As in the label map."""
    return n.crops.ids


def y_um(n: Sums) -> Floats:
    """Centroid."""
    return n.places.y_px * n.frame.mpp


def x_um(n: Sums) -> Floats:
    """Centroid."""
    return n.places.x_px * n.frame.mpp


def y_l0_px(n: Sums) -> Floats:
    """Centroid."""
    return n.places.y_px * n.frame.downsample


def x_l0_px(n: Sums) -> Floats:
    """Centroid."""
    return n.places.x_px * n.frame.downsample


def ymin_l0_px(n: Sums) -> Floats:
    """Upper end."""
    return n.places.ymin_px * n.frame.downsample


def xmin_l0_px(n: Sums) -> Floats:
    """Left end."""
    return n.places.xmin_px * n.frame.downsample


def ymax_l0_px(n: Sums) -> Floats:
    """Lower end."""
    return n.places.ymax_px * n.frame.downsample


def xmax_l0_px(n: Sums) -> Floats:
    """Right end."""
    return n.places.xmax_px * n.frame.downsample


def area_um2(n: Sums) -> Floats:
    """Pixels times pixel area."""
    return n.crops.area_px * n.frame.mpp**2


def perimeter_um(n: Sums) -> Floats:
    """Crofton's formula in four directions; unbiased over orientations."""
    return crofton_px(n.shape) * n.frame.mpp


def major_axis_um(n: Sums) -> Floats:
    """Length of the long axis of the ellipse of equal second moments."""
    return 4 * np.sqrt(n.ellipse.eigenvalues[0]) * n.frame.mpp


def minor_axis_um(n: Sums) -> Floats:
    """Length of the short axis of that ellipse; 0 if the nucleus is one pixel wide."""
    return 4 * np.sqrt(n.ellipse.eigenvalues[1]) * n.frame.mpp


def orientation_rad(n: Sums) -> Floats:
    """Angle of the long axis from the y axis; 0 if the ellipse is a circle."""
    return 0.5 * np.arctan2(2 * n.ellipse.yx, n.ellipse.yy - n.ellipse.xx)


def eccentricity(n: Sums) -> Floats:
    """Focal distance over the long axis."""
    long, short = n.ellipse.eigenvalues
    ratio: Floats = np.divide(short, long, out=np.ones_like(long), where=long > 0)
    return np.sqrt(1 - ratio)


def solidity(n: Sums) -> Floats:
    """Pixels over pixels of the convex hull."""
    return n.crops.area_px / n.hull_px


def circularity(n: Sums) -> Floats:
    """Isoperimetric quotient; above 1 only by the estimator's error, so cut there."""
    return np.minimum(4 * np.pi * n.crops.area_px / crofton_px(n.shape) ** 2, 1)


def _mean_od(n: Sums, total: NDArray[np.int64]) -> Floats:
    return total / n.crops.area_px * OD_UNIT


def _std_od(n: Sums, total: NDArray[np.int64], squared: NDArray[np.int64]) -> Floats:
    """Take the whole part of the mean off first, so that nothing cancels."""
    mean = total // n.crops.area_px
    rest = total - mean * n.crops.area_px
    rest_squared = squared - 2 * mean * total + mean * mean * n.crops.area_px
    variance = (rest_squared - rest * rest / n.crops.area_px) / n.crops.area_px
    return np.sqrt(np.maximum(variance, 0)) * OD_UNIT


def hematoxylin_od_mean(n: Sums) -> Floats:
    """Mean."""
    return _mean_od(n, n.stains.hematoxylin)


def hematoxylin_od_std(n: Sums) -> Floats:
    """Return the standard deviation over the pixels."""
    return _std_od(n, n.stains.hematoxylin, n.stains.hematoxylin_squared)


def eosin_od_mean(n: Sums) -> Floats:
    """Mean."""
    return _mean_od(n, n.stains.eosin)


def eosin_od_std(n: Sums) -> Floats:
    """Return the standard deviation over the pixels."""
    return _std_od(n, n.stains.eosin, n.stains.eosin_squared)


def hematoxylin_od_contrast(n: Sums) -> Floats:
    """Mean step between adjacent pixels; 0 for a single pixel."""
    return n.stains.differences / np.maximum(n.stains.n_pairs, 1) * OD_UNIT


def hematoxylin_entropy(n: Sums) -> Floats:
    """Spread of the histogram."""
    return n.stains.entropy_bits


def type_id(n: Sums) -> NDArray[np.uint8]:
    """Type whose probability, summed over the whole nucleus, is largest."""
    return heaviest(n.types)


def type_name(n: Sums) -> NDArray[np.str_]:
    """Name of that type."""
    return np.array(["", *n.frame.type_names])[type_id(n)]


def type_prob(n: Sums) -> Floats:
    """Mean probability of that type."""
    largest: NDArray[np.int64] = n.types.max(axis=1, initial=0)
    return largest / (255 * n.crops.area_px)


def prob(n: Sums) -> Floats:
    """Mean probability of being a nucleus."""
    return n.prob / (255 * n.crops.area_px)


def touches_slide_edge(n: Sums) -> NDArray[np.bool_]:
    """Whether the extent reaches an edge of the canvas."""
    at, (height, width) = n.places, n.frame.canvas_shape
    upper_left = (at.ymin_px <= 0) | (at.xmin_px <= 0)
    return upper_left | (at.ymax_px >= height) | (at.xmax_px >= width)


def seam_distance_um(n: Sums) -> Floats:
    """Distance to the nearest line between inference windows.

    Tiles have no effect on a nucleus by construction, so they are no seams; windows are
    where one forward pass ends and the next begins, and lie on one fixed lattice.
    """
    return n.frame.seam_distance_px(n.places.y_px, n.places.x_px) * n.frame.mpp


def geometry(n: Sums) -> Packed:
    """Outline with holes."""
    return n.outlines


_COLUMNS: tuple[Callable[[Sums], NDArray[Any] | Packed], ...] = (
    slide_id,
    nucleus_id,
    y_um,
    x_um,
    y_l0_px,
    x_l0_px,
    ymin_l0_px,
    xmin_l0_px,
    ymax_l0_px,
    xmax_l0_px,
    area_um2,
    perimeter_um,
    major_axis_um,
    minor_axis_um,
    orientation_rad,
    eccentricity,
    solidity,
    circularity,
    hematoxylin_od_mean,
    hematoxylin_od_std,
    eosin_od_mean,
    eosin_od_std,
    hematoxylin_od_contrast,
    hematoxylin_entropy,
    type_id,
    type_name,
    type_prob,
    prob,
    touches_slide_edge,
    seam_distance_um,
    geometry,
)
