"""Choosing a decoder's constants on dev images: one at a time, while it helps.

The maps are predicted once; only decoding and comparing are repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from segpipe.arrays import Maps
from segpipe.metrics import scores
from segpipe.networks import LoadedNetwork
from segpipe.training.annotated import Annotated
from segpipe.training.comparing import compare

Tried = Callable[[Any, float], None]
"""Called with constants and the objective they reach."""
Predicted = tuple[Annotated, Maps]
"""A dev image and the maps a network makes of it."""


def objective(
    loaded: LoadedNetwork,
    predicted: Sequence[Predicted],
    decoding: Any,  # noqa: ANN401 - each network's own dataclass
) -> float:
    """Return the mean over sets of the mean over images of (PQ + AJI) / 2."""
    by_set: dict[str, list[float]] = {}
    for annotated, maps in predicted:
        row = scores(compare(annotated, loaded.network.decode(maps, decoding)).counts)
        if not math.isnan(row["pq"]):
            values = by_set.setdefault(annotated.sample.set, [])
            values.append((row["pq"] + row["aji"]) / 2)
    return mean(mean(values) for values in by_set.values())


def calibrate(
    loaded: LoadedNetwork,
    predicted: Sequence[Predicted],
    choices: Mapping[str, Sequence[float]],
    *,
    rounds: int = 2,
    tried: Tried | None = None,
) -> tuple[Any, float]:
    """Search a decoder's constants by coordinate ascent from those of the card.

    Parameters
    ----------
    loaded
        The network.
    predicted
        Dev images with their maps.
    choices
        Values to try for each constant.
    rounds
        Passes over all constants; it stops early when one brings nothing.
    tried
        Called for everything that is tried.

    Returns
    -------
    constants, objective
    """
    best = loaded.decoding
    value = objective(loaded, predicted, best)
    for _ in range(rounds):
        before = value
        for name, option in _options(choices):
            candidate = replace(best, **{name: option})
            if candidate == best:
                continue
            reached = objective(loaded, predicted, candidate)
            if tried is not None:
                tried(candidate, reached)
            if reached > value:
                best, value = candidate, reached
        if value == before:
            break
    return best, value


def _options(choices: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, values in choices.items() for value in values)
