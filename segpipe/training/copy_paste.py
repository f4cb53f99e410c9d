"""Copy-paste: nuclei of other images, zoomed and turned, blended into a patch.

Ghiasi et al. 2021, *Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation*: large-scale jitter, and what is covered is taken out of the annotation.
Here borders are feathered, and nuclei hardly lie on each other, as in a thin section.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segpipe.arrays import RGB, LabelMap, Mask
from segpipe.geometry import Box
from segpipe.targets import UNTYPED
from segpipe.training.annotated import Annotated
from segpipe.training.augment import CopyPaste
from segpipe.training.nuclei import Nucleus
from segpipe.training.scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """A nucleus as it will be pasted, with some of its surroundings."""

    rgb: RGB
    mask: Mask
    alpha: NDArray[np.float32]
    """Share of the cutout in the blend, 0 to 1; 0 on its neighbours."""
    type: int


def paste_nuclei(
    scene: Scene,
    draw: Callable[[], Cutout | None],
    settings: CopyPaste,
    rng: Generator,
) -> Scene:
    """Paste some nuclei, or none, at random places.

    Parameters
    ----------
    scene
        The patch.
    draw
        Draws a nucleus of another image; None if it found none.
    settings
        Chance, number, limits.
    rng
        What everything here depends on.
    """
    if rng.random() >= settings.chance:
        return scene
    for _ in range(int(rng.integers(1, settings.most + 1))):
        if np.count_nonzero(scene.labels) >= settings.density * scene.labels.size:
            break
        cutout = draw()
        if cutout is not None:
            middle = rng.uniform(0, scene.labels.shape)
            y, x = (middle - np.array(cutout.mask.shape) / 2).astype(int)
            scene = paste(scene, cutout, (int(y), int(x)), settings)
    return scene


def cut_out(
    image: Annotated, nucleus: Nucleus, settings: CopyPaste, rng: Generator
) -> Cutout:
    """Cut a nucleus out of its image: zoomed, turned, perhaps flipped."""
    zoom = np.exp(rng.uniform(-settings.scale, settings.scale))
    turn = rng.uniform(0, 2 * np.pi)
    flip = rng.choice((-1.0, 1.0))
    pad = 2 + int(np.ceil(3 * settings.feather_px))
    side = int(np.ceil(np.hypot(*nucleus.box.shape) * zoom)) + 2 * pad
    box = nucleus.box.grown(int(np.ceil(side / zoom)))
    box = box.intersection(Box.of_shape(image.labels.shape))
    offset = np.arange(side) - (side - 1) / 2
    dx, dy = np.meshgrid(offset * flip, offset)
    cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
    cy, cx = nucleus.centre
    x = (cos * dx - sin * dy + cx - box.x0).astype(np.float32)
    y = (sin * dx + cos * dy + cy - box.y0).astype(np.float32)
    rgb = image.image[box.slices()]
    labels = image.labels[box.slices()].astype(np.uint16)
    labels = cv2.remap(labels, x, y, cv2.INTER_NEAREST)
    mask = labels == nucleus.id
    return Cutout(
        rgb=np.asarray(
            cv2.remap(rgb, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        ),
        mask=mask,
        alpha=_feathered(mask, settings.feather_px) * (mask | (labels == 0)),
        type=nucleus.type,
    )


def _feathered(mask: Mask, sigma_px: float) -> NDArray[np.float32]:
    alpha = mask.astype(np.float32)
    if sigma_px > 0:
        alpha = cv2.GaussianBlur(alpha, (0, 0), sigma_px)
    return np.asarray(alpha, np.float32)


def paste(
    scene: Scene, cutout: Cutout, corner: tuple[int, int], settings: CopyPaste
) -> Scene:
    """Paste a nucleus with its corner at a place, unless that won't do there.

    Parameters
    ----------
    scene
        The patch.
    cutout
        May reach beyond the patch.
    corner
        y, x in the patch.
    settings
        How much may be covered, and what is too small to stay.

    Returns
    -------
    Scene
        With one more id, or the same scene if too much would be covered or too little
        shown. What remains of a covered nucleus keeps its id; in several pieces it is
        no longer reliable; a piece under ``min_px`` is no longer known.
    """
    own = Box.of_shape(cutout.mask.shape).shifted(*corner)
    box = own.intersection(Box.of_shape(scene.labels.shape))
    if box.is_empty:
        return scene
    part, here = box.relative_to(own).slices(), box.slices()
    new = cutout.mask[part] & scene.shown[here]
    if not _may_lie(scene.labels, new, here, settings):
        return scene
    covered = np.unique(scene.labels[here][new])
    alpha = (cutout.alpha[part] * scene.shown[here])[..., None]
    rgb = scene.rgb.copy()
    rgb[here] = np.rint(alpha * cutout.rgb[part] + (1 - alpha) * rgb[here])
    planes = _with_types(scene, cutout.type)
    planes.labels[here][new] = int(scene.labels.max()) + 1
    planes.known[here][new] = True
    planes.reliable[here][new] = True
    if planes.types is not None:
        planes.types[here][new] = cutout.type
    for one in covered[covered > 0]:
        _mend(planes, int(one), settings.min_px)
    return replace(planes, rgb=rgb)


def _may_lie(
    labels: LabelMap, new: Mask, here: tuple[slice, slice], settings: CopyPaste
) -> bool:
    """Whether enough of the new nucleus is shown, and little enough lies on others."""
    n_new = np.count_nonzero(new)
    if n_new < max(1, settings.min_px):
        return False
    below = labels[here][new]
    ids, n_covered = np.unique(below[below > 0], return_counts=True)
    if n_covered.sum() > settings.overlap * n_new:
        return False
    return all(
        n <= settings.overlap * np.count_nonzero(labels == one)
        for one, n in zip(ids, n_covered, strict=True)
    )


def _with_types(scene: Scene, kind: int) -> Scene:
    """Return a scene whose annotation may be written to, with types if one is known."""
    types = scene.types
    if types is None and kind != UNTYPED:
        types = np.where(scene.labels > 0, UNTYPED, 0).astype(np.uint8)
    return replace(
        scene,
        labels=scene.labels.copy(),
        types=None if types is None else types.copy(),
        known=scene.known.copy(),
        reliable=scene.reliable.copy(),
    )


def _mend(scene: Scene, one: int, min_px: int) -> None:
    """Settle, in place, what remains of a nucleus that was partly covered."""
    mask = scene.labels == one
    n_pieces, pieces, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    small = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] < min_px)
    dropped = np.isin(pieces, small)
    scene.labels[dropped] = 0
    scene.known[dropped] = False
    if scene.types is not None:
        scene.types[dropped] = 0
    if n_pieces - 1 - len(small) > 1:
        scene.reliable[mask] = False
