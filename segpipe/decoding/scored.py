"""Instances that a detector scored as a whole, and the maps that this comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, ProbMap, TypeMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A label map whose instances have scores and types."""

    labels: LabelMap
    """(Y, X) int32; 0 is background, ids are 1..n."""
    scores: NDArray[np.uint8]
    """(n,) uint8 in units of 1/255, in order of id."""
    types: NDArray[np.uint8]
    """(n,) uint8: type, 0 if untyped."""

    @classmethod
    def without(cls, labels: LabelMap) -> Self:
        """Return a label map of instances that have neither; scores are 0."""
        none = np.zeros(int(labels.max(initial=0)), np.uint8)
        return cls(labels=labels, scores=none, types=none)


def painted_scores(
    labels: NDArray[Any],
    ids: NDArray[Any],
    scores: NDArray[np.uint8],
    types: NDArray[np.uint8],
    *,
    n_types: int,
) -> tuple[ProbMap, TypeMap]:
    """Give each pixel of an instance the instance's score.

    The mean over an instance is its score then, exactly, and its type the one in whose
    map there is anything: what is measured from maps is what the detector said.

    Parameters
    ----------
    labels : (Y, X) integer
        Label map; other ids than those given count as background.
    ids : (N,) integer
        Ids, ascending.
    scores, types : (N,) uint8
        Of each; types are 1..n_types, or 0 for none.
    n_types : int
        How many types there are.

    Returns
    -------
    prob : (Y, X) uint8
        In units of 1/255.
    typed : (n_types, Y, X) uint8
        The same in the map of the instance's type, 0 in the others.
    """
    first, last = (int(ids[0]), int(ids[-1])) if len(ids) else (1, 0)
    rows = np.zeros(last - first + 2, np.int64)
    rows[ids.astype(np.int64) - first + 1] = np.arange(1, len(ids) + 1)
    known = (labels >= first) & (labels <= last)
    at = rows[np.where(known, labels.astype(np.int64) - first + 1, 0)]
    prob = np.concatenate([np.zeros(1, np.uint8), scores])[at]
    kind = np.concatenate([np.zeros(1, np.uint8), types])[at]
    names = np.arange(1, n_types + 1, dtype=np.uint8)[:, None, None]
    return prob, np.where(kind == names, prob, np.uint8(0))
