"""Scoring a network, or label maps made elsewhere, on images that a manifest names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segpipe.errors import DatasetError
from segpipe.networks import LoadedNetwork, load
from segpipe.training.evaluating import evaluate
from segpipe.training.finding import NetworkFinder, label_maps
from segpipe.training.manifest import Sample
from segpipe.training.recipe import Recipe, read_recipe, shipped_recipe
from segpipe.training.selecting import select_samples
from segpipe.training.stock import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Which annotated images."""

    manifest: Path
    split: str = "test"
    sets: Collection[str] | None = None
    """Names of the sets to take; None takes all that have the split."""

    def select(self, recipe: Recipe | None) -> tuple[Sample, ...]:
        """Read the manifest, as a recipe sees it.

        Raises
        ------
        DatasetError
            If the manifest won't do, or a set has no image of the split.
        """
        samples = select_samples(self.manifest, self.split, recipe, only=self.sets)
        absent = sorted(set(self.sets or ()) - {sample.set for sample in samples})
        if absent:
            message = (
                f"The manifest {self.manifest} has no image of split {self.split!r} in "
                f"{', '.join(absent)}."
            )
            raise DatasetError(message)
        return samples


def score_network(  # noqa: PLR0913 - each is a choice of the caller
    name_or_weights: str | Path,
    images: Images,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    recipe: Path | None = None,
    test_time: str = "none",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate a network.

    Parameters
    ----------
    name_or_weights
        Name of a network whose weights ship, or path of a weights file.
    images
        What to evaluate on.
    out
        Folder; made if missing. ``training.results`` says what is written.
    device
        Where the network runs.
    recipe
        Says the sets' mpp and how their types map to the network's. None takes the
        shipped recipe of the weights' name, or else of the network's, if there is one.
    test_time
        ``"flips"`` takes the mean over eight orientations, ``"none"`` one.
    progress
        Called with what is done, how many are done, and of how many.

    Returns
    -------
    dict
        What ``metrics.json`` holds.
    """
    loaded = load(name_or_weights, device=device)
    chosen = recipe_of(loaded) if recipe is None else read_recipe(recipe)
    finder = NetworkFinder(loaded=loaded, test_time=test_time)
    return evaluate(finder, images.select(chosen), out, progress=progress)


def score_label_maps(
    folder: Path,
    images: Images,
    out: Path,
    *,
    recipe: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate label maps that another program made, without types and scores.

    Parameters
    ----------
    folder
        Holds for each image ``<id>`` or ``<set>/<id>``, as PNG, NPY or TIFF.
    images
        What to evaluate on.
    out
        Folder; made if missing.
    recipe
        Says the sets' mpp, and which of their images are held out. None takes the sets
        as the manifest has them.
    progress
        Called with what is done, how many are done, and of how many.
    """
    samples = images.select(None if recipe is None else read_recipe(recipe))
    return evaluate(label_maps(folder, samples), samples, out, progress=progress)


def recipe_of(loaded: LoadedNetwork) -> Recipe | None:
    """Return the shipped recipe of the weights' name, or else of the network's."""
    return shipped_recipe(loaded.card.name) or shipped_recipe(loaded.network.name)
