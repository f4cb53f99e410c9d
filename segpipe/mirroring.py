"""Pixels beyond the rim of an array: what lies inside, mirrored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.geometry import Box


def mirrored(pixels: NDArray[Any], inside: Box, box: Box) -> NDArray[Any]:
    """Extend pixels of the part of a box that is inside an array to the whole box.

    Parameters
    ----------
    pixels : (..., Y, X)
        Pixels of ``inside``.
    inside : Box
        The part of ``box`` that lies in the array; not empty.
    box : Box
        What is wanted, in the frame of ``inside``.

    Returns
    -------
    (..., Y, X)
        Of the box, mirrored at the sides of ``inside``, the outermost pixel repeated;
        again and again if the box reaches farther than ``inside`` is wide.
    """
    beyond = [
        (inside.y0 - box.y0, box.y1 - inside.y1),
        (inside.x0 - box.x0, box.x1 - inside.x1),
    ]
    leading = [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, [*leading, *beyond], mode="symmetric")
