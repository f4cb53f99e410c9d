"""Predicting an image in its eight orientations and taking the mean of the maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import Maps, Planes

HV_HEAD = "hv"
"""The map whose channels are directions: horizontal, then vertical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One of the eight orientations: transpose, then flip vertically, horizontally."""

    transpose: bool
    vertical: bool
    horizontal: bool

    def turn(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Bring (..., Y, X) into this orientation."""
        if self.transpose:
            planes = planes.swapaxes(-1, -2)
        rows = slice(None, None, -1 if self.vertical else 1)
        columns = slice(None, None, -1 if self.horizontal else 1)
        return planes[..., rows, columns]

    def turn_back(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Bring the map ``name`` of a turned image back, with its directions."""
        rows = slice(None, None, -1 if self.vertical else 1)
        columns = slice(None, None, -1 if self.horizontal else 1)
        values = values[..., rows, columns]
        if name == HV_HEAD:
            signs = (-1 if self.horizontal else 1, -1 if self.vertical else 1)
            values = values * np.array(signs, values.dtype)[:, None, None]
        if self.transpose:
            values = values.swapaxes(-1, -2)
            values = values[::-1] if name == HV_HEAD else values
        return values


TURNS = tuple(
    Turn(transpose=transpose, vertical=vertical, horizontal=horizontal)
    for transpose, vertical, horizontal in product((False, True), repeat=3)
)
"""All orientations of a square; the first is none."""


def mean_of_flips(predict: Callable[[Planes], Maps], planes: Planes) -> Maps:
    """Predict an image in each orientation; return the mean of the maps, turned back.

    Parameters
    ----------
    predict
        From an image to its quantised maps.
    planes : (3, Y, X) uint8
        The image.

    Returns
    -------
    Maps
        As ``predict`` returns them. Halves are rounded to even.
    """
    sums: dict[str, NDArray[np.int32]] = {}
    dtypes: dict[str, np.dtype[Any]] = {}
    for turn in TURNS:
        maps = predict(np.ascontiguousarray(turn.turn(planes)))
        for name, values in maps.items():
            back = turn.turn_back(name, values).astype(np.int32)
            sums[name] = sums[name] + back if name in sums else back
            dtypes[name] = values.dtype
    return {
        name: np.round(total / len(TURNS)).astype(dtypes[name])
        for name, total in sums.items()
    }
