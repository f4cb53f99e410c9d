"""Chance that training adds to patches: geometry, stain, blur, noise, compression.

Pure functions of arrays and a random generator. Geometry moves image and labels
together, by one map, before targets are made, so targets never need turning themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segpipe.arrays import RGB

Field = NDArray[np.float32]

_STAINS = np.array(
    [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]]
)
"""Optical density of hematoxylin, eosin and DAB; Ruifrok and Johnston 2001."""
_DENSITY = -np.log((np.arange(256) + 1.0) / 256.0).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far each kind of chance reaches. Zero turns a kind off."""

    scale: float = 0.3
    """Zoom by up to exp(+-scale)."""
    turn_deg: float = 20.0
    """Turn by up to this much, besides the eight flips and quarter turns."""
    elastic_px: float = 1.5
    """Standard deviation of a smooth displacement."""
    stain: float = 0.8
    """Strength of each stain, by up to exp(+-stain)."""
    tint: float = 0.06
    """Standard deviation of a shift of each channel's optical density."""
    contrast: float = 0.5
    """Contrast, by up to exp(+-contrast)."""
    brightness: float = 0.08
    """Shift of all channels, by up to this share of the range."""
    blur_px: float = 1.2
    """Largest sigma of a Gaussian blur."""
    sharpening: float = 2.0
    """Largest share of the detail below about a pixel that is added again, as scanners
    do."""
    noise: float = 8.0
    """Largest standard deviation of noise, in grey levels."""
    jpeg_quality: int = 40
    """Worst JPEG quality; 100 turns compression off."""
    chance: float = 0.25
    """Probability of each of blur, sharpening, noise and compression."""


def sampling_field(
    size_px: int, centre: tuple[float, float], aug: Augmentation, rng: Generator
) -> tuple[Field, Field]:
    """Return where in the image each pixel of a square patch is looked up.

    Parameters
    ----------
    size_px
        Side of the patch.
    centre
        y, x of the patch's centre in the image.

    Returns
    -------
    x, y : (size_px, size_px) float32
        In the order OpenCV's ``remap`` wants.
    """
    turn = np.deg2rad(rng.uniform(-aug.turn_deg, aug.turn_deg) + 90 * rng.integers(4))
    zoom = np.exp(rng.uniform(-aug.scale, aug.scale))
    flip = rng.choice((-1.0, 1.0))
    offset = np.arange(size_px, dtype=np.float32) - (size_px - 1) / 2
    x, y = np.meshgrid(offset * flip, offset)
    cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
    dx, dy = _displacement(size_px, aug.elastic_px, rng)
    return (
        (cos * x - sin * y + centre[1] + dx).astype(np.float32),
        (sin * x + cos * y + centre[0] + dy).astype(np.float32),
    )


def _displacement(size_px: int, sigma_px: float, rng: Generator) -> Field:
    knots = rng.normal(0, sigma_px, (2, 5, 5)).astype(np.float32)
    planes = [
        cv2.resize(k, (size_px, size_px), interpolation=cv2.INTER_CUBIC) for k in knots
    ]
    return np.stack(planes)


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
        sigma_px = rng.uniform(0.2, aug.blur_px)
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)
    if sharpens and aug.sharpening > 0:
        detail = rgb - cv2.GaussianBlur(rgb, (0, 0), 1.0).astype(np.float32)
        rgb = _grey_levels(rgb + detail * rng.uniform(0, aug.sharpening))
    if noises and aug.noise > 0:
        noise = rng.standard_normal(rgb.shape, np.float32)
        level = rgb + noise * rng.uniform(1, aug.noise)
        rgb = _grey_levels(level)
    if compresses and aug.jpeg_quality < 100:
        quality = int(rng.integers(aug.jpeg_quality, 96))
        coded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        rgb = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return rgb


def _grey_levels(level: NDArray[np.float32]) -> RGB:
    clipped: RGB = np.clip(level, 0, 255).astype(np.uint8)
    return clipped
