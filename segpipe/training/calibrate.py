"""Choosing a decoder's constants on dev images: one at a time, while it helps.

Maps are predicted once; only decoding and comparing are repeated. A detector's
constants decide what it says, so it is run again for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryFile
from typing import Any

import torch

from segpipe.errors import DatasetError, OutputNotWritable
from segpipe.metrics import mean_score, scores
from segpipe.networks import Answer, LoadedNetwork, load
from segpipe.training.annotated import Annotated, read_annotated
from segpipe.training.comparing import count_instances
from segpipe.training.export import annotate_card
from segpipe.training.finding import answer_image
from segpipe.training.recipe import read_recipe
from segpipe.training.scoring import Images, recipe_of
from segpipe.training.stock import Progress

Tried = Callable[[Any, float], None]
"""Called with constants and the objective they reach."""
Predicted = tuple[Annotated, Answer]
"""A dev image and what a network says of it."""
Reached = Callable[[Any], dict[str, float]]
"""From constants to the objective of each set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What calibrating came to."""

    constants: dict[str, float]
    """Those that differ from the network's defaults; what the card says now."""
    before: dict[str, float]
    """(PQ + AJI) / 2 of each set with nuclei, with the constants there were."""
    after: dict[str, float]
    """The same with those found."""


def calibrate_weights(
    weights: Path,
    images: Images,
    *,
    device: torch.device | str = "cpu",
    recipe: Path | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Choose the decoder's constants on dev images and write them into the card.

    Parameters
    ----------
    weights
        The ``.safetensors`` file, its card beside it.
    images
        What to choose on. Scores on the same images are optimistic afterwards.
    device
        Where the network runs.
    recipe
        As for ``scoring.score_network``.
    progress
        Called with what is done, how many are done, and of how many.

    Raises
    ------
    DatasetError
        If an image won't do, or none has a nucleus.
    WeightsError
        If the weights won't do.
    OutputNotWritable
        If the card can't be written; nothing has been tried then.
    """
    loaded = load(weights, device=device)
    _check_writable(weights.with_suffix(".toml"))
    chosen = recipe_of(loaded) if recipe is None else read_recipe(recipe)
    annotated = [read_annotated(sample) for sample in images.select(chosen)]
    _check_nuclei(annotated)
    reached = _remembering(list(_predict(loaded, annotated, progress)))
    choices = loaded.network.decoding.CHOICES
    best = _ascended(loaded.decoding, choices, reached, progress=progress)
    constants = chosen_constants(best)
    annotate_card(weights, decoding=constants)
    before, after = reached(loaded.decoding), reached(best)
    both = [name for name in before if name in after]
    return Calibration(
        constants=constants,
        before={name: before[name] for name in both},
        after={name: after[name] for name in both},
    )


def _check_writable(card: Path) -> None:
    """Refuse a folder that takes no file: a card is written beside its place."""
    try:
        with TemporaryFile(dir=card.parent):
            pass
    except OSError as error:
        message = (
            f"The card {card} can't be written: {error.strerror}. Copy the weights and "
            "their card into a folder of yours, and calibrate them there."
        )
        raise OutputNotWritable(message) from error


def _check_nuclei(annotated: Sequence[Annotated]) -> None:
    if not any(one.labels.any() for one in annotated):
        message = (
            f"None of the {len(annotated)} images to calibrate on has a nucleus, so "
            "all constants are as good. Name a set or a split with nuclei."
        )
        raise DatasetError(message)


def _predict(
    loaded: LoadedNetwork, images: Sequence[Annotated], progress: Progress | None
) -> Iterator[Predicted]:
    for index, annotated in enumerate(images):
        yield annotated, answer_image(loaded, annotated)
        if progress is not None:
            progress("predicting", index + 1, len(images))


def _remembering(predicted: Sequence[Predicted]) -> Reached:
    """Return ``objectives`` of some images; by the same constants it decodes once."""
    return cache(partial(objectives, predicted))


def objectives(
    predicted: Sequence[Predicted],
    decoding: Any,  # noqa: ANN401 - each network's own dataclass
) -> dict[str, float]:
    """Return for each set the mean over images of (PQ + AJI) / 2.

    A set is left out if in none of its images there is, or is found, a nucleus.
    """
    by_set: dict[str, list[float]] = {}
    for annotated, said in predicted:
        labels = said.decode(decoding).labels
        row = scores(count_instances(annotated, labels))
        values = by_set.setdefault(annotated.sample.set, [])
        values.append((row["pq"] + row["aji"]) / 2)
    means = {name: mean_score(values) for name, values in sorted(by_set.items())}
    return {name: value for name, value in means.items() if not math.isnan(value)}


def chosen_constants(decoding: Any) -> dict[str, Any]:  # noqa: ANN401 - any network's
    """Return the constants of a decoder that are not its defaults, for a card."""
    return {
        field.name: getattr(decoding, field.name)
        for field in fields(decoding)
        if getattr(decoding, field.name) != field.default
    }


def calibrate(  # noqa: PLR0913 - each is a choice of the caller
    loaded: LoadedNetwork,
    predicted: Sequence[Predicted],
    choices: Mapping[str, Sequence[float]],
    *,
    rounds: int = 3,
    tried: Tried | None = None,
    progress: Progress | None = None,
) -> tuple[Any, float]:
    """Search a decoder's constants by coordinate ascent from those of the card.

    Parameters
    ----------
    loaded
        The network.
    predicted
        Dev images with what the network says of them.
    choices
        Values to try for each constant.
    rounds
        Passes over all constants; it stops early when one brings nothing.
    tried
        Called for everything that is tried.
    progress
        Called with what is done, how many are done, and of how many at most.

    Returns
    -------
    constants, objective
        The objective is the mean of ``objectives`` over the sets.

    Raises
    ------
    DatasetError
        If no image has a nucleus.
    """
    _check_nuclei([annotated for annotated, _ in predicted])
    reached = _remembering(predicted)
    best = _ascended(
        loaded.decoding, choices, reached, rounds=rounds, tried=tried, progress=progress
    )
    return best, mean(reached(best).values())


def _ascended(  # noqa: PLR0913 - as calibrate
    best: Any,  # noqa: ANN401 - each network's own dataclass
    choices: Mapping[str, Sequence[float]],
    reached: Reached,
    *,
    rounds: int = 3,
    tried: Tried | None = None,
    progress: Progress | None = None,
) -> Any:  # noqa: ANN401 - each network's own dataclass
    """Return the constants that coordinate ascent from ``best`` ends at."""

    def reached_by(decoding: Any) -> float:  # noqa: ANN401 - the network's own
        value = mean(reached(decoding).values())
        if tried is not None:
            tried(decoding, value)
        return value

    value = reached_by(best)
    n_options = sum(map(len, choices.values()))
    for done in range(rounds):
        before = value
        for index, (name, option) in enumerate(_options(choices)):
            candidate = replace(best, **{name: option})
            if candidate != best and (found := reached_by(candidate)) > value:
                best, value = candidate, found
            if progress is not None:
                progress("trying", done * n_options + index + 1, rounds * n_options)
        if value == before:
            break
    return best


def _options(choices: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, values in choices.items() for value in values)
