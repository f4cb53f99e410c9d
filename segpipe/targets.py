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
    shift = int(ids[0] != 0) if len(ids) else 0
    dense = dense.reshape(labels.shape) + shift
    centre = _centres(dense, len(ids) + shift)
    reach = _reaches(dense, centre)
    hv: NDArray[np.float32] = _offsets(dense, centre, reach)
    return hv


@njit(cache=True, nogil=True)
def _centres(labels: NDArray[np.int64], n_ids: int) -> NDArray[np.int64]:
    """Return the centre of mass of each id, x then y, to the nearest whole pixel."""
    sums = np.zeros((3, n_ids), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            i = labels[y, x]
            sums[0, i] += x
            sums[1, i] += y
            sums[2, i] += 1
    count = np.maximum(sums[2], 1)
    centre: NDArray[np.int64] = np.floor(sums[:2] / count + 0.5).astype(np.int64)
    return centre


@njit(cache=True, nogil=True)
def _reaches(labels: NDArray[np.int64], centre: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest offset of each id left, right; above, below."""
    reach = np.ones((2, 2, centre.shape[1]), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            i = labels[y, x]
            for axis in range(2):
                offset = (x, y)[axis] - centre[axis, i]
                side = int(offset > 0)
                reach[axis, side, i] = max(reach[axis, side, i], abs(offset))
    return reach


@njit(cache=True, nogil=True)
def _offsets(
    labels: NDArray[np.int64], centre: NDArray[np.int64], reach: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return each pixel's offset by the reach of its side."""
    hv = np.zeros((2, *labels.shape), np.float32)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            i = labels[y, x]
            if i > 0:
                for axis in range(2):
                    offset = (x, y)[axis] - centre[axis, i]
                    hv[axis, y, x] = offset / reach[axis, int(offset > 0), i]
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
    target: NDArray[np.float32] = (types == planes).astype(np.float32)
    return target


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
    kept: Mask = ~np.isin(labels, cut[cut > 0])
    return kept
