"""Which images of a manifest serve, and as what: the manifest as a recipe reads it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segpipe.errors import DatasetError
from segpipe.training.annotated import mpp_of
from segpipe.training.manifest import Sample, read_manifest
from segpipe.training.recipe import Recipe, SetRecipe


def select_samples(
    manifest: Path,
    split: str,
    recipe: Recipe | None = None,
    *,
    only: Collection[str] | None = None,
) -> tuple[Sample, ...]:
    """Return the images of a split, with mpp and classes settled.

    Parameters
    ----------
    manifest
        CSV of annotated images.
    split
        ``"train"``, ``"dev"`` or whatever the manifest says.
    recipe
        Says for each set its mpp where the manifest has none, how its types map to the
        network's, and which training images count as dev. A set it doesn't name is
        taken as the manifest has it.
    only
        Names of the sets to take; None takes all.

    Raises
    ------
    DatasetError
        If the manifest won't do, no image is of the split, or one has no mpp.
    """
    sets = {one.name: one for one in recipe.sets} if recipe else {}
    held_out = {name: one.held_out for name, one in sets.items()}
    samples = read_manifest(manifest, held_out=held_out)
    chosen = [s for s in samples if s.split == split and _is_wanted(s, only)]
    if not chosen:
        found = sorted({f"{s.split} of {s.set}" for s in samples})
        message = (
            f"The manifest {manifest} has no image of split {split!r} in the sets "
            f"asked for; it has {', '.join(found)}."
        )
        raise DatasetError(message)
    return tuple(_settled(s, sets.get(s.set)) for s in chosen)


def check_held_out(recipe: Recipe) -> None:
    """Refuse a recipe that holds out images which its sets don't have.

    A name that is not that of an image holds nothing out, and the image that was meant
    would be trained on. Sets that the manifest hasn't at all are refused elsewhere.

    Raises
    ------
    DatasetError
        If the manifest won't do, or lacks an image that is held out.
    """
    there: dict[str, set[str]] = {}
    for sample in read_manifest(recipe.manifest):
        there.setdefault(sample.set, set()).add(sample.id)
    for one in recipe.sets:
        absent = sorted(one.held_out - there.get(one.name, one.held_out))
        if absent:
            message = (
                f"The recipe {recipe.name} holds out {len(one.held_out)} images of "
                f"{one.name}; the manifest {recipe.manifest} has not "
                f"{', '.join(absent)}. Name them as it does, or take them out of "
                "held_out."
            )
            raise DatasetError(message)


def evenly_spread(samples: Sequence[Sample], n_samples: int) -> list[Sample]:
    """Return so many of some samples, or all if there are fewer, evenly spread."""
    n_chosen = min(n_samples, len(samples))
    at = np.linspace(0, len(samples) - 1, n_chosen).round().astype(int)
    return [samples[index] for index in at]


def _is_wanted(sample: Sample, only: Collection[str] | None) -> bool:
    return only is None or sample.set in only


def _settled(sample: Sample, one: SetRecipe | None) -> Sample:
    mpp = sample.mpp or (one.mpp if one else None)
    settled = replace(sample, mpp=mpp, classes=one.classes if one else None)
    mpp_of(settled)
    return settled
