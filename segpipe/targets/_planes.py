"""Foreground, types, and where neither can be trusted."""

from __future__ import annotations

import numpy as np
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
