"""Outlines of nuclei drawn over pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import RGB, LabelMap, Mask
from segpipe.errors import ShapeMismatch
from segpipe.tables.palette import colour_of


def overlay(
    rgb: RGB, labels: LabelMap, type_ids: NDArray[np.uint8] | None = None
) -> RGB:
    """Draw the outline of each nucleus, one pixel wide, just inside it.

    Touching nuclei keep a line each, so that one sees where they were parted.

    Parameters
    ----------
    rgb : (Y, X, 3) uint8
        Pixels.
    labels : (Y, X) integer
        Label map of the same box.
    type_ids : (max id + 1,) uint8
        Type of each nucleus by its id, for the colours; untyped if not given.

    Returns
    -------
    (Y, X, 3) uint8
        A copy with the lines.

    Raises
    ------
    ShapeMismatch
        If pixels and labels differ in height or width.
    """
    if rgb.shape[:2] != labels.shape:
        message = f"Pixels are {rgb.shape[:2]}, but their label map is {labels.shape}."
        raise ShapeMismatch(message)
    lines = inner_outlines(labels)
    drawn = rgb.copy()
    on_lines = labels[lines]
    types = np.zeros(on_lines.shape, int) if type_ids is None else type_ids[on_lines]
    drawn[lines] = _colours()[types]
    return drawn


def inner_outlines(labels: LabelMap) -> Mask:
    """Return the pixels of nuclei that share a side with a pixel of another label.

    The border of the array is no outline: the nucleus may go on there.
    """
    differs = np.zeros(labels.shape, np.bool_)
    below = labels[1:] != labels[:-1]
    beside = labels[:, 1:] != labels[:, :-1]
    differs[1:] |= below
    differs[:-1] |= below
    differs[:, 1:] |= beside
    differs[:, :-1] |= beside
    return differs & (labels > 0)


def _colours() -> NDArray[np.uint8]:
    return np.array([colour_of(type_id) for type_id in range(256)], np.uint8)
