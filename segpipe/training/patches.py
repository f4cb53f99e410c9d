"""Patches: what a network sees in training, drawn from annotated images by chance.

Patch ``index`` of step ``step`` depends on the seed and these two numbers only, so a
resumed run sees what an undisturbed one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from segpipe.arrays import Planes, to_planes
from segpipe.errors import DatasetError
from segpipe.networks._network import Network
from segpipe.targets import uncut
from segpipe.training.annotated import Annotated, at_mpp, read_annotated
from segpipe.training.augment import degrade, sampling_field, stain_jitter
from segpipe.training.manifest import Sample
from segpipe.training.recipe import Recipe

Patch = tuple[Planes, Mapping[str, NDArray[Any]]]
Batch = tuple[Tensor, Mapping[str, Tensor]]
Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The images of one set at the network's resolution, and how often they serve."""

    images: tuple[Annotated, ...]
    share: float
    """Probability that a patch comes from this set."""


def load_sources(
    recipe: Recipe,
    samples: Sequence[Sample],
    *,
    mpp: float,
    progress: Progress | None = None,
) -> tuple[Source, ...]:
    """Read every training image of a recipe into memory at ``mpp``.

    Raises
    ------
    DatasetError
        If a set has no image, or an image won't do.
    """
    total = sum(one.weight for one in recipe.sets)
    return tuple(
        Source(
            images=tuple(_load_set(one.name, samples, mpp, progress)),
            share=one.weight / total,
        )
        for one in recipe.sets
    )


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


def draw_batch(
    sources: Sequence[Source], recipe: Recipe, network: Network, step: int
) -> Batch:
    """Return the batch of a step: (B, 3, S, S) uint8 and the targets by name."""
    patches = [
        draw_patch(sources, recipe, network, np.random.default_rng(seed))
        for seed in ((recipe.seed, step, index) for index in range(recipe.batch))
    ]
    return collate(patches)


def collate(patches: Sequence[Patch]) -> Batch:
    """Stack patches into tensors."""
    planes = torch.from_numpy(np.stack([patch[0] for patch in patches]))
    names = patches[0][1]
    targets = {n: torch.from_numpy(np.stack([p[1][n] for p in patches])) for n in names}
    return planes, targets


def draw_patch(
    sources: Sequence[Source], recipe: Recipe, network: Network, rng: Generator
) -> Patch:
    """Draw a set, an image and a place; look it up, disturb it, make its targets."""
    source = sources[rng.choice(len(sources), p=[s.share for s in sources])]
    image = source.images[rng.integers(len(source.images))]
    size_px = recipe.patch_px
    centre = _centre(image.labels.shape, size_px, rng)
    x, y = sampling_field(size_px, centre, recipe.augmentation, rng)

    def nearest(plane: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(
            cv2.remap(plane, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        )

    rgb = cv2.remap(image.image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    rgb = degrade(stain_jitter(rgb, recipe.augmentation, rng), recipe.augmentation, rng)
    labels = nearest(image.labels.astype(np.uint16)).astype(np.int32)
    types = None if image.types is None else nearest(image.types)
    valid = nearest(np.ones(image.labels.shape, np.uint8)).astype(np.bool_)
    reliable = nearest(image.reliable.astype(np.uint8)).astype(np.bool_)
    targets = {
        **network.targets(labels, types, len(recipe.types)),
        "valid": valid.astype(np.float32),
        "reliable": (reliable & uncut(labels, valid)).astype(np.float32),
    }
    return to_planes(rgb), targets


def _centre(
    shape: tuple[int, ...], size_px: int, rng: Generator
) -> tuple[float, float]:
    """Return a point whose patch lies inside, or the middle of a small image."""
    y, x = (
        rng.uniform(min(size_px, side) / 2, side - min(size_px, side) / 2) - 0.5
        for side in shape
    )
    return y, x
