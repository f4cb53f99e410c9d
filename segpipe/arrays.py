"""The kinds of arrays that travel through segpipe, by name, and the one axis change.

============ ============= ======= =====================================================
name         shape         dtype   meaning
============ ============= ======= =====================================================
``RGB``      (Y, X, 3)     uint8   pixels as a reader gives them
``Planes``   (3, Y, X)     uint8   the same, channels first: everywhere but at the edge
``ProbMap``  (Y, X)        uint8   foreground probability in units of 1/255
``HVMap``    (2, Y, X)     int8    horizontal, vertical offset in units of 1/127
``TypeMap``  (K, Y, X)     uint8   probability of each type in units of 1/255
``LabelMap`` (Y, X)        int32   ids of instances; 0 is background
``Mask``     (Y, X)        bool    belongs or doesn't
============ ============= ======= =====================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ShapeMismatch

RGB = NDArray[np.uint8]
Planes = NDArray[np.uint8]
ProbMap = NDArray[np.uint8]
HVMap = NDArray[np.int8]
TypeMap = NDArray[np.uint8]
LabelMap = NDArray[np.int32]
Mask = NDArray[np.bool_]
Maps = Mapping[str, NDArray[Any]]
"""What a network says of a box: by head name, one array (channels..., Y, X)."""


def to_planes(rgb: RGB) -> Planes:
    """Turn (Y, X, 3) into contiguous (3, Y, X): the only change of axis order.

    Raises
    ------
    ShapeMismatch
        If the array is not (Y, X, 3).
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        message = f"RGB is (Y, X, 3); this array is {rgb.shape}."
        raise ShapeMismatch(message)
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))


def to_rgb(planes: Planes) -> RGB:
    """Turn (3, Y, X) back into contiguous (Y, X, 3), for pictures."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
