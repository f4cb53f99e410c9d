"""Refusing maps that aren't on the scale that decoders read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import MapsInvalid, ShapeMismatch


def check_probability(name: str, values: NDArray[Any]) -> None:
    """Raise unless a map is (Y, X) uint8, in units of 1/255.

    Raises
    ------
    MapsInvalid
        If the elements are of another type.
    ShapeMismatch
        If it has more or fewer axes.
    """
    _check_type(name, values, np.uint8, "probabilities in units of 1/255")
    if values.ndim != 2:
        message = f"The {name} map must be (Y, X); found {values.shape}."
        raise ShapeMismatch(message)


def check_offsets(values: NDArray[Any]) -> None:
    """Raise unless an hv map is int8 in -127..127, in units of 1/127.

    Raises
    ------
    MapsInvalid
        If the elements are of another type, or -128.
    """
    _check_type("hv", values, np.int8, "offsets in units of 1/127")
    if values.size and values.min() < -127:
        n_out = np.count_nonzero(values < -127)
        message = (
            f"The hv map has {n_out} of {values.size} values of -128; offsets are "
            "-127 to 127 in units of 1/127. Clip them to [-1, 1] before scaling."
        )
        raise MapsInvalid(message)


def _check_type(name: str, values: NDArray[Any], dtype: Any, scale: str) -> None:  # noqa: ANN401
    if values.dtype != dtype:
        message = (
            f"The {name} map must be {np.dtype(dtype).name}, {scale}; found "
            f"{values.dtype}. Scale, round and convert it first."
        )
        raise MapsInvalid(message)
