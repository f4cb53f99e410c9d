"""Where each pixel of a patch is looked up: zoom, turn, flip, elastic displacement."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segpipe.training.augment import Augmentation

Field = NDArray[np.float32]


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
    dx, dy = _displacement(size_px, aug, rng)
    return (
        (cos * x - sin * y + centre[1] + dx).astype(np.float32),
        (sin * x + cos * y + centre[0] + dy).astype(np.float32),
    )


def _displacement(size_px: int, aug: Augmentation, rng: Generator) -> Field:
    """Return x and y displacements, smooth between knots.

    References
    ----------
    Ronneberger et al. 2015, *U-Net*, section 3.1: normal displacements on a coarse
    grid, bicubic between.
    """
    n_knots = aug.elastic_knots
    knots = rng.normal(0, aug.elastic_px, (2, n_knots, n_knots)).astype(np.float32)
    planes = [
        cv2.resize(k, (size_px, size_px), interpolation=cv2.INTER_CUBIC) for k in knots
    ]
    return np.stack(planes)
