"""Instances with what was said of them: how probable they are, and of which type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, ProbMap, TypeMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A label map, how probable its pixels are, and the types of its instances."""

    labels: LabelMap
    """(Y, X) int32; 0 is background, ids are 1..n."""
    prob: ProbMap
    """(Y, X) uint8 in units of 1/255: a network's map, or for each pixel of an instance
    the score that a detector gave the instance."""
    types: NDArray[np.uint8]
    """(n,) uint8: type, 0 if untyped."""


def painted(
    labels: NDArray[Any], ids: NDArray[Any], values: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Give each pixel of an instance the instance's value.

    The mean over an instance is its value then, exactly: what is measured from maps of
    scores is what the detector said.

    Parameters
    ----------
    labels : (Y, X) integer
        Label map; other ids than those given count as background.
    ids : (N,) integer
        Ids, ascending.
    values : (N,) uint8
        Of each.

    Returns
    -------
    (Y, X) uint8
        0 in the background.
    """
    first, last = (int(ids[0]), int(ids[-1])) if len(ids) else (1, 0)
    value_of = np.zeros(last - first + 2, np.uint8)
    value_of[ids.astype(np.int64) - first + 1] = values
    known = (labels >= first) & (labels <= last)
    return value_of[np.where(known, labels.astype(np.int64) - first + 1, 0)]


def type_maps(prob: ProbMap, kinds: NDArray[np.uint8], n_types: int) -> TypeMap:
    """Return the probability of each type where every pixel has one type.

    Parameters
    ----------
    prob : (Y, X) uint8
        In units of 1/255.
    kinds : (Y, X) uint8
        Type of each pixel, 1..n_types, or 0 for none.
    n_types : int
        How many types there are.

    Returns
    -------
    (n_types, Y, X) uint8
        ``prob`` in the map of the pixel's type, 0 in the others.
    """
    names = np.arange(1, n_types + 1, dtype=np.uint8)[:, None, None]
    return np.where(kinds == names, prob, np.uint8(0))
