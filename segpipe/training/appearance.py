"""Changes of a patch's picture that leave its annotation: stain, sharpness, noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segpipe.arrays import RGB
from segpipe.training.augment import Augmentation

_STAINS = np.array(
    [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]]
)
"""Optical density of hematoxylin, eosin and DAB; Ruifrok and Johnston 2001."""
_DENSITY = -np.log((np.arange(256) + 1.0) / 256.0).astype(np.float32)


def stain_jitter(rgb: RGB, aug: Augmentation, rng: Generator) -> RGB:
    """Change the strength of each stain and the tint, in optical density.

    Returns
    -------
    (Y, X, 3) uint8
    """
    strength = np.exp(rng.uniform(-aug.stain, aug.stain, 3))
    mixing = np.linalg.inv(_STAINS) @ np.diag(strength) @ _STAINS
    shift = rng.normal(0, aug.tint, 3) * rng.uniform(0, 1)
    affine = np.column_stack((mixing.T, shift)).astype(np.float32)
    density = cv2.transform(_DENSITY[rgb], affine)
    gain = np.exp(rng.uniform(-aug.contrast, aug.contrast))
    lift = 255 * rng.uniform(-aug.brightness, aug.brightness)
    level = (cv2.exp(-density) * 255 - 128) * gain + 128 + lift
    return _grey_levels(level)


def degrade(rgb: RGB, aug: Augmentation, rng: Generator) -> RGB:
    """Blur, sharpen, add noise, compress: each with its chance.

    Returns
    -------
    (Y, X, 3) uint8
    """
    blurs, sharpens, noises, compresses = rng.random(4) < aug.chance
    if blurs and aug.blur_px > 0:
        sigma_px = rng.uniform(min(0.2, aug.blur_px), aug.blur_px)
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)
    if sharpens and aug.sharpening > 0:
        detail = rgb - cv2.GaussianBlur(rgb, (0, 0), 1.0).astype(np.float32)
        rgb = _grey_levels(rgb + detail * rng.uniform(0, aug.sharpening))
    if noises and aug.noise > 0:
        noise = rng.standard_normal(rgb.shape, np.float32)
        level = rgb + noise * rng.uniform(min(1.0, aug.noise), aug.noise)
        rgb = _grey_levels(level)
    if compresses and aug.jpeg_quality < 100:
        worst = aug.jpeg_quality
        quality = int(rng.integers(worst, max(96, worst + 1)))
        coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        rgb = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return rgb


def _grey_levels(level: NDArray[np.float32]) -> RGB:
    clipped: RGB = np.clip(level, 0, 255).astype(np.uint8)
    return clipped
