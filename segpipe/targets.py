"""What networks are trained to say of a label map: foreground, hv offsets, types.

Pure functions of one patch. Whatever needs images, files or chance lives elsewhere.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, Mask
from segpipe.errors import ShapeMismatch

UNTYPED = 255
"""Value of a type map where the type is not known. 0 is background."""


def prob_target(labels: LabelMap) -> NDArray[np.float32]:
    """Return 1 inside instances and 0 outside.

    Parameters
    ----------
    labels : (Y, X) int

    Returns
    -------
    (Y, X) float32
    """
    return (labels > 0).astype(np.float32)


def hv_target(labels: LabelMap) -> NDArray[np.float32]:
    """Return each pixel's offset from its instance's centre of mass.

    The centre is rounded to a whole pixel, and each side (left and right, above and
    below) is divided by its own largest offset, so that each runs to -1 or 1 exactly.

    Parameters
    ----------
    labels : (Y, X) int
        Any ids; 0 is background.

    Returns
    -------
    (2, Y, X) float32
        Horizontal, vertical offset in [-1, 1]; 0 outside instances.

    References
    ----------
    Graham et al. 2019, *HoVer-Net*, Medical Image Analysis 58, section 3.1.
    """
    ids, dense = np.unique(labels, return_inverse=True)
    shift = int(ids[0] != 0)
    hv: NDArray[np.float32] = _hv(dense.reshape(labels.shape) + shift, len(ids) + shift)
    return hv


@njit(cache=True)
def _hv(labels: NDArray[np.int64], n_ids: int) -> NDArray[np.float32]:
    height, width = labels.shape
    count = np.zeros(n_ids, np.int64)
    centre = np.zeros((2, n_ids), np.float64)
    for y in range(height):
        for x in range(width):
            i = labels[y, x]
            count[i] += 1
            centre[0, i] += x
            centre[1, i] += y
    for i in range(n_ids):
        for axis in range(2):
            centre[axis, i] = np.floor(centre[axis, i] / max(count[i], 1) + 0.5)
    reach = np.zeros((2, 2, n_ids), np.float64)
    for y in range(height):
        for x in range(width):
            i = labels[y, x]
            for axis in range(2):
                offset = (x if axis == 0 else y) - centre[axis, i]
                side = 1 if offset > 0 else 0
                reach[axis, side, i] = max(reach[axis, side, i], abs(offset))
    hv = np.zeros((2, height, width), np.float32)
    for y in range(height):
        for x in range(width):
            i = labels[y, x]
            for axis in range(2):
                offset = (x if axis == 0 else y) - centre[axis, i]
                side = 1 if offset > 0 else 0
                if i > 0 and offset != 0:
                    hv[axis, y, x] = offset / reach[axis, side, i]
    return hv


def type_target(
    types: NDArray[np.uint8] | None, shape: tuple[int, int], n_types: int
) -> NDArray[np.float32]:
    """Return one plane per type, all zero where there is no nucleus or no known type.

    Parameters
    ----------
    types : (Y, X) uint8, or None if nothing is known
        1..n_types; 0 is background, ``UNTYPED`` unknown.
    shape
        Height and width, for when ``types`` is None.
    n_types
        Planes to return.

    Returns
    -------
    (n_types, Y, X) float32

    Raises
    ------
    ShapeMismatch
        If ``types`` is not of ``shape``.
    """
    if types is None:
        return np.zeros((n_types, *shape), np.float32)
    if types.shape != tuple(shape):
        message = f"The type map is {types.shape}, its label map {tuple(shape)}."
        raise ShapeMismatch(message)
    planes = np.arange(1, n_types + 1, dtype=np.uint8)[:, None, None]
    return (types == planes).astype(np.float32)


def uncut(labels: LabelMap, valid: Mask) -> Mask:
    """Return where no instance is cut off by the patch's edge or by invalid pixels.

    The centre of a nucleus that is seen only in part can't be known.

    Parameters
    ----------
    labels : (Y, X) int
    valid : (Y, X) bool
        Pixels that show the image, not padding.

    Returns
    -------
    (Y, X) bool
        False on every pixel of an instance that touches the edge; True elsewhere.
    """
    near = np.zeros(labels.shape, np.bool_)
    near[[0, -1]] = near[:, [0, -1]] = True
    lost = ~valid
    for axis in (0, 1):
        for step in (-1, 1):
            near |= np.roll(lost, step, axis)
    near |= lost
    cut = np.unique(labels[near])
    return ~np.isin(labels, cut[cut > 0])
