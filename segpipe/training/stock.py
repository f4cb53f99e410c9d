"""What patches are drawn from: annotated images in memory, and the nuclei in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from segpipe.errors import DatasetError
from segpipe.targets import UNTYPED
from segpipe.training.annotated import Annotated, at_mpp, read_annotated
from segpipe.training.manifest import Sample
from segpipe.training.nuclei import Nucleus, nuclei_of
from segpipe.training.recipe import PSEUDO, Recipe, SetRecipe

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and of how many."""


class Place(NamedTuple):
    """A nucleus and the image it is in."""

    image: Annotated
    nucleus: Nucleus


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The images of one set at the network's resolution, and how often they serve."""

    images: tuple[Annotated, ...]
    nuclei: tuple[tuple[Nucleus, ...], ...]
    """The nuclei of each image."""
    share: float
    """Probability that a patch comes from this set."""

    @classmethod
    def of(cls, images: Iterable[Annotated], share: float) -> Source:
        """Return a source with the nuclei of its images looked up."""
        kept = tuple(images)
        return cls(images=kept, nuclei=tuple(map(nuclei_of, kept)), share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """All sources, and their nuclei by type."""

    sources: tuple[Source, ...]
    by_type: tuple[tuple[Place, ...], ...]
    """For each type that occurs, its nuclei; types in ascending order."""

    @classmethod
    def of(cls, sources: Sequence[Source]) -> Stock:
        """Return a stock with the nuclei of its sources sorted by type."""
        by_type: dict[int, list[Place]] = {}
        for source in sources:
            for image, nuclei in zip(source.images, source.nuclei, strict=True):
                for nucleus in nuclei:
                    by_type.setdefault(nucleus.type, []).append(Place(image, nucleus))
        by_type.pop(UNTYPED, None)
        return cls(
            sources=tuple(sources),
            by_type=tuple(tuple(by_type[kind]) for kind in sorted(by_type)),
        )


def load_stock(
    recipe: Recipe,
    samples: Sequence[Sample],
    *,
    mpp: float,
    progress: Progress | None = None,
) -> Stock:
    """Read every training image of a recipe into memory at ``mpp``.

    Parameters
    ----------
    recipe
        Says how often each set serves.
    samples
        The training images; those of the set ``pseudo`` are self-training's.
    mpp
        The network's.
    progress
        Called for each image read.

    Raises
    ------
    DatasetError
        If a set has no image, an image won't do, no image has a nucleus, or a type the
        recipe names is in none.
    """
    weights = {one.name: one.weight for one in recipe.sets}
    if recipe.self_training is not None:
        weights[PSEUDO] = recipe.self_training.weight
    total = sum(weights.values())
    stock = Stock.of(
        [
            Source.of(_load_set(name, samples, mpp, progress), weight / total)
            for name, weight in weights.items()
        ]
    )
    for one in recipe.sets:
        _check_types(one, samples)
    _check_nuclei(stock, recipe)
    return stock


def _load_set(
    name: str, samples: Sequence[Sample], mpp: float, progress: Progress | None
) -> Iterable[Annotated]:
    chosen = [s for s in samples if s.set == name]
    if not chosen:
        message = f"The manifest has no training image of the set {name}."
        raise DatasetError(message)
    for index, sample in enumerate(chosen):
        yield at_mpp(read_annotated(sample), mpp)
        if progress is not None:
            progress(f"reading {name}", index + 1, len(chosen))


def _check_types(one: SetRecipe, samples: Sequence[Sample]) -> None:
    chosen = [s for s in samples if s.set == one.name]
    if one.classes and not any(s.types for s in chosen):
        message = (
            f"The recipe has classes for the set {one.name}, but the manifest names no "
            f"types file for any of its {len(chosen)} training images."
        )
        raise DatasetError(message)


def _check_nuclei(stock: Stock, recipe: Recipe) -> None:
    images = [image for source in stock.sources for image in source.images]
    if not any(nuclei for source in stock.sources for nuclei in source.nuclei):
        message = (
            f"None of the {len(images)} training images of the recipe {recipe.name} "
            "has a nucleus: every label map is 0 all over."
        )
        raise DatasetError(message)
    seen = {places[0].nucleus.type for places in stock.by_type}
    unseen = [n for k, n in enumerate(recipe.types, 1) if k not in seen]
    if unseen:
        message = (
            f"No training image shows a nucleus of type {', '.join(unseen)}. "
            "Give a set its classes in the recipe, or take the type out of it."
        )
        raise DatasetError(message)
