"""Patches: what a network sees in training, drawn from annotated images by chance.

Patch ``index`` of step ``step`` depends on the seed and these two numbers only, so a
resumed run sees what an undisturbed one would have seen, whoever draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from segpipe.arrays import Planes, to_planes
from segpipe.networks import Described
from segpipe.targets import uncut
from segpipe.training.annotated import Annotated
from segpipe.training.appearance import degrade, stain_jitter
from segpipe.training.copy_paste import Cutout, cut_out, paste_nuclei
from segpipe.training.recipe import Recipe
from segpipe.training.scene import Scene, look_up
from segpipe.training.stock import Place, Source, Stock
from segpipe.training.warp import sampling_field

Patch = tuple[Planes, Mapping[str, NDArray[Any]]]
Batch = tuple[Tensor, Mapping[str, Tensor]]


def draw_nth(
    stock: Stock, recipe: Recipe, network: Described, step: int, index: int
) -> Patch:
    """Return a patch of a step's batch by its number."""
    rng = np.random.default_rng((recipe.seed, step, index))
    return draw_patch(stock, recipe, network, rng)


def collate(patches: Sequence[Patch]) -> Batch:
    """Stack patches into tensors."""
    planes = torch.from_numpy(np.stack([patch[0] for patch in patches]))
    names = patches[0][1]
    targets = {n: torch.from_numpy(np.stack([p[1][n] for p in patches])) for n in names}
    return planes, targets


def draw_patch(
    stock: Stock, recipe: Recipe, network: Described, rng: Generator
) -> Patch:
    """Draw a set, an image and a place; look it up, disturb it, make its targets."""
    scene = draw_scene(stock, recipe, rng)
    valid = scene.shown & scene.known
    targets = {
        **network.targets(scene.labels, scene.types, len(recipe.types)),
        "valid": valid.astype(np.float32),
        "reliable": (scene.reliable & uncut(scene.labels, scene.shown)).astype(
            np.float32
        ),
    }
    return to_planes(scene.rgb), targets


def draw_scene(stock: Stock, recipe: Recipe, rng: Generator) -> Scene:
    """Draw a patch as it is before its targets are made."""
    size_px, aug = recipe.patch_px, recipe.augmentation
    image, centre = _place(stock, recipe, rng)
    scene = look_up(image, *sampling_field(size_px, centre, aug, rng))

    def draw() -> Cutout | None:
        place = _nucleus(stock, recipe, rng)
        if place is None or place.image is image or not place.nucleus.whole:
            return None
        return cut_out(place.image, place.nucleus, aug.copy_paste, rng)

    if aug.copy_paste.chance > 0:
        scene = paste_nuclei(scene, draw, aug.copy_paste, rng)
    rgb = degrade(stain_jitter(scene.rgb, aug, rng), aug, rng)
    return replace(scene, rgb=rgb)


def _place(
    stock: Stock, recipe: Recipe, rng: Generator
) -> tuple[Annotated, tuple[float, float]]:
    """Draw an image and a patch's centre in it; sometimes by a nucleus's type."""
    size_px = recipe.patch_px
    if _is_balanced(recipe, rng):
        image, nucleus = _of_any_type(stock, rng)
        return image, _centre_near(image.labels.shape, size_px, nucleus.centre, rng)
    source = _source(stock, rng)
    image = source.images[rng.integers(len(source.images))]
    return image, _centre(image.labels.shape, size_px, rng)


def _nucleus(stock: Stock, recipe: Recipe, rng: Generator) -> Place | None:
    """Draw a nucleus to paste; None if the image drawn has none."""
    if _is_balanced(recipe, rng):
        return _of_any_type(stock, rng)
    source = _source(stock, rng)
    index = rng.integers(len(source.images))
    nuclei = source.nuclei[index]
    if not nuclei:
        return None
    return Place(source.images[index], nuclei[rng.integers(len(nuclei))])


def _source(stock: Stock, rng: Generator) -> Source:
    shares = [source.share for source in stock.sources]
    return stock.sources[rng.choice(len(shares), p=shares)]


def _is_balanced(recipe: Recipe, rng: Generator) -> bool:
    return recipe.balance > 0 and rng.random() < recipe.balance


def _of_any_type(stock: Stock, rng: Generator) -> Place:
    """Draw a type, each as likely as another, and a nucleus of it."""
    places = stock.by_type[rng.integers(len(stock.by_type))]
    return places[rng.integers(len(places))]


def _centre(
    shape: tuple[int, ...], size_px: int, rng: Generator
) -> tuple[float, float]:
    """Return a point whose patch lies inside, or the middle of a small image."""
    y, x = (
        rng.uniform(min(size_px, side) / 2, side - min(size_px, side) / 2) - 0.5
        for side in shape
    )
    return y, x


def _centre_near(
    shape: tuple[int, ...], size_px: int, near: tuple[float, float], rng: Generator
) -> tuple[float, float]:
    """Return a point as ``_centre`` does, whose patch shows a place well inside."""
    reach = rng.uniform(-size_px / 4, size_px / 4, 2)
    margins = [min(size_px, side) / 2 for side in shape]
    y, x = (
        float(np.clip(at + by, margin - 0.5, side - margin - 0.5))
        for at, by, margin, side in zip(near, reach, margins, shape, strict=True)
    )
    return y, x
