"""Resample pixels by whole numbers, so that any box gives the same pixels as the whole.

The *canvas* is a level seen at another resolution: canvas pixel ``i`` covers level
pixels ``[i * s, (i + 1) * s)`` along each axis, with the scale ``s`` a ratio of whole
numbers, p / q. In units of 1/q of a level pixel every edge is a whole number, so which
level pixels a canvas pixel needs, and how much of each, is decided by integers that
depend on ``i`` alone and not on the box in which it is asked. Floating-point would put
an edge here or there depending on the tile.

Down (s >= 1) is the area average. Up (s < 1) is linear interpolation between the
centres of level pixels. Both are separable: rows first, then columns, with weights in
units of 1 / 32768 that sum to one exactly, and one rounding at the end, half up. So a
constant picture stays constant. For s a power of two the mean is exact; otherwise the
mean of n x n level pixels is exact to n / 64 grey values before it is rounded.

::

    level    |  0  |  1  |  2  |  3  |  4  |     s = 5/2: p = 5, q = 2
    edges    0  .  2  .  4  .  6  .  8  . 10     in halves of a level pixel
    canvas   |      0       |       1      |     pixel 0 covers [0, 5):
                                                 2/5 of 0, 2/5 of 1, 1/5 of 2
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import RGB
from segpipe.errors import ShapeMismatch
from segpipe.geometry import Box

WEIGHT_BITS = 15
"""So 255 * 2**15 for the rows fits int32 and 255 * 2**30 for both fits int64."""
MOST_PARTS = 2**31
"""Largest numerator and denominator of a scale; an edge then fits int64."""

Weights = NDArray[np.int32]
"""(n, k): weight of the k level pixels from the first one, for n canvas pixels."""


def source_box(box: Box, scale: Fraction) -> Box:
    """Return the level pixels that a box of the canvas needs.

    Parameters
    ----------
    box
        In canvas pixels; may reach outside the slide.
    scale
        Level pixels per canvas pixel.

    Returns
    -------
    Box
        In level pixels. It may reach outside the level, where readers give white: by a
        fraction of a canvas pixel at the far sides, and by one level pixel all around
        if the canvas is finer than the level.

    Raises
    ------
    ValueError
        If the scale is not positive or its terms exceed ``MOST_PARTS``.
    """
    y0, y1 = _span(box.y0, box.y1, scale)
    x0, x1 = _span(box.x0, box.x1, scale)
    return Box(y0, x0, y1, x1)


def resample(rgb: RGB, *, box: Box, scale: Fraction, source: Box) -> RGB:
    """Compute a box of the canvas from the level pixels it needs.

    Parameters
    ----------
    rgb
        (Y, X, 3) uint8, the level pixels of ``source``.
    box
        In canvas pixels.
    scale
        Level pixels per canvas pixel.
    source
        The box of ``rgb`` in level pixels; holds ``source_box(box, scale)``.

    Returns
    -------
    (Y, X, 3) uint8
        Of the shape of ``box``. ``resample`` of a box is the crop of ``resample`` of
        any box around it, bit for bit.

    Raises
    ------
    ShapeMismatch
        If ``rgb`` hasn't the shape of ``source``, or ``source`` lacks needed pixels.
    ValueError
        As :func:`source_box`.
    """
    needed = source_box(box, scale)
    if rgb.shape != (*source.shape, 3):
        message = f"Pixels of {source} are {(*source.shape, 3)}; given are {rgb.shape}."
        raise ShapeMismatch(message)
    if not source.contains(needed):
        message = (
            f"Canvas {box} at scale {scale} needs level {needed}; given: {source}."
        )
        raise ShapeMismatch(message)
    if box.is_empty:
        return np.empty((*box.shape, 3), np.uint8)
    if scale == 1:
        return np.array(rgb[needed.relative_to(source).slices()])
    starts_y, weights_y = _axis(box.y0, box.y1, scale)
    starts_x, weights_x = _axis(box.x0, box.x1, scale)
    canvas: RGB = _weighted(
        np.ascontiguousarray(rgb),
        starts_y - source.y0,
        weights_y,
        starts_x - source.x0,
        weights_x,
    )
    return canvas


def _checked(scale: Fraction) -> tuple[int, int]:
    numerator, denominator = scale.as_integer_ratio()
    if 0 < numerator <= MOST_PARTS and denominator <= MOST_PARTS:
        return numerator, denominator
    message = (
        f"Scale {scale} is not a positive ratio of whole numbers up to {MOST_PARTS}. "
        "Use Fraction(...).limit_denominator(1000)."
    )
    raise ValueError(message)


def _span(first: int, stop: int, scale: Fraction) -> tuple[int, int]:
    """Return the level pixels that canvas pixels ``[first, stop)`` need, half-open."""
    p, q = _checked(scale)
    if first == stop:
        return first * p // q, first * p // q
    if p >= q:
        return first * p // q, -(-stop * p // q)
    low = (2 * first + 1) * p - q
    high = (2 * stop - 1) * p - q
    return low // (2 * q), high // (2 * q) + 2


def _axis(first: int, stop: int, scale: Fraction) -> tuple[NDArray[np.int64], Weights]:
    """Return the first level pixel and the weights of canvas pixels along an axis."""
    p, q = _checked(scale)
    index = np.arange(first, stop, dtype=np.int64)
    return _averaging(index, p, q) if p >= q else _interpolating(index, p, q)


def _averaging(
    index: NDArray[np.int64], p: int, q: int
) -> tuple[NDArray[np.int64], Weights]:
    """Weigh level pixels by how much of each a canvas pixel covers.

    The covered share up to each level edge is rounded to a unit of weight, and a weight
    is the difference of two such shares: so the weights sum to one exactly.
    """
    starts = index * p // q
    n_taps = -(-p // q) + 1
    edges = (starts[:, None] + np.arange(n_taps + 1)) * q - (index * p)[:, None]
    covered = np.clip(edges, 0, p)
    shares = (covered * 2 ** (WEIGHT_BITS + 1) + p) // (2 * p)
    return starts, np.diff(shares, axis=1).astype(np.int32)


def _interpolating(
    index: NDArray[np.int64], p: int, q: int
) -> tuple[NDArray[np.int64], Weights]:
    """Weigh the two level pixels whose centres enclose that of a canvas pixel."""
    centres = (2 * index + 1) * p - q
    starts = centres // (2 * q)
    past = centres - starts * 2 * q
    second = (past * 2**WEIGHT_BITS + q) // (2 * q)
    weights = np.stack([2**WEIGHT_BITS - second, second], axis=1)
    return starts, weights.astype(np.int32)


@njit(cache=True, nogil=True)
def _weighted(
    rgb: RGB,
    starts_y: NDArray[np.int64],
    weights_y: Weights,
    starts_x: NDArray[np.int64],
    weights_x: Weights,
) -> RGB:
    """Sum weighted rows into one line of int32, then weighted columns of that line."""
    height, width = starts_y.size, starts_x.size
    out = np.empty((height, width, 3), np.uint8)
    n_values = rgb.shape[1] * 3
    rows = rgb.reshape(rgb.shape[0], n_values)
    line = np.empty(n_values, np.int32)
    half = np.int64(1) << (2 * WEIGHT_BITS - 1)
    for y in range(height):
        line[:] = 0
        for tap in range(weights_y.shape[1]):
            weight = weights_y[y, tap]
            if weight:
                row = rows[starts_y[y] + tap]
                for value in range(n_values):
                    line[value] += weight * np.int32(row[value])
        for x in range(width):
            red = green = blue = half
            for tap in range(weights_x.shape[1]):
                weight_x = np.int64(weights_x[x, tap])
                if weight_x:
                    at = (starts_x[x] + tap) * 3
                    red += weight_x * line[at]
                    green += weight_x * line[at + 1]
                    blue += weight_x * line[at + 2]
            out[y, x, 0] = red >> (2 * WEIGHT_BITS)
            out[y, x, 1] = green >> (2 * WEIGHT_BITS)
            out[y, x, 2] = blue >> (2 * WEIGHT_BITS)
    return out
