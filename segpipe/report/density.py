"""Where nuclei are dense: a coloured veil over a picture of the slide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from segpipe.arrays import RGB

_STOPS = np.array(
    [
        (68, 1, 84),
        (59, 82, 139),
        (33, 145, 140),
        (94, 201, 98),
        (253, 231, 37),
    ],
    np.float64,
)
"""Five points of the viridis scale, whose steps are even to every eye."""
_SMOOTH_CELLS = 1.2
_CELLS_ACROSS = 96
_VEIL = 0.72
_FULL_VEIL_LEVEL = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """Nuclei per area on a coarse grid over the canvas."""

    per_mm2: NDArray[np.float64]
    """(rows, columns) nuclei per square millimetre, smoothed."""

    @property
    def highest(self) -> float:
        """Largest value; the upper end of the colour scale."""
        return float(self.per_mm2.max(initial=0))


def density_of(
    y_px: NDArray[np.float64],
    x_px: NDArray[np.float64],
    *,
    canvas_shape: tuple[int, int],
    mpp: float,
    every: int = 1,
) -> Density:
    """Count nuclei in square cells, about a hundred along the longer side.

    Of ``every`` so many nuclei one is given.
    """
    height, width = canvas_shape
    cell_px = max(height, width) / _CELLS_ACROSS
    bins = [max(round(length / cell_px), 1) for length in canvas_shape]
    counts, *_ = np.histogram2d(y_px, x_px, bins, [(0, height), (0, width)])
    cell_mm2 = height * width / (bins[0] * bins[1]) * (mpp / 1000) ** 2
    per_mm2 = gaussian_filter(counts * every, _SMOOTH_CELLS) / cell_mm2
    return Density(per_mm2=per_mm2)


def veiled(rgb: RGB, density: Density) -> RGB:
    """Lay the density over a grey picture of the canvas; the denser, the less sheer."""
    coarse = Image.fromarray((density.per_mm2 / max(density.highest, 1)).astype("f4"))
    size = rgb.shape[1], rgb.shape[0]
    level = np.clip(np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)), 0, 1)
    veil = _VEIL * np.clip(level / _FULL_VEIL_LEVEL, 0, 1)[..., None]
    grey = rgb.mean(axis=2, keepdims=True)
    mixed: NDArray[np.float64] = grey * (1 - veil) + scale_colours(level) * veil
    return np.rint(mixed).astype(np.uint8)


def scale_colours(level: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the colours of levels in [0, 1], in a new last axis of R, G, B."""
    at = level * (len(_STOPS) - 1)
    stops = np.arange(len(_STOPS))
    return np.stack([np.interp(at, stops, channel) for channel in _STOPS.T], axis=-1)
