"""The canvas: a slide seen at another resolution, read box by box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from segpipe.arrays import RGB
from segpipe.errors import MppImplausible
from segpipe.geometry import Box
from segpipe.resampling import resample, source_box
from segpipe.slides._protocol import Level, Slide
from segpipe.stages.plan import Canvas
from segpipe.tiling.grid import TileGrid

TOLERANCE = 0.04
"""A whole number of level pixels per canvas pixel, or of canvas pixels per level pixel,
is preferred if the canvas is then within this share of the wanted mpp: no network
notices, and nothing is blurred."""

COARSEST_MPP = 1.0
"""Where a pixel is larger, a nucleus is six of them across or less: nothing to find."""


def choose_canvas(levels: Sequence[Level], slide_mpp: float, mpp: float) -> Canvas:
    """Choose the level to read, and the scale, that come to ``mpp``.

    The coarsest level that is fine enough is area-averaged down; where none is, level 0
    is enlarged.

    Parameters
    ----------
    levels
        Levels of the slide, from fine to coarse.
    slide_mpp
        Micrometres per level-0 pixel.
    mpp
        Wanted micrometres per canvas pixel.

    Raises
    ------
    MppImplausible
        If the slide is coarser than both ``mpp`` and ``COARSEST_MPP``.
    """
    coarsest = max(mpp, COARSEST_MPP)
    if slide_mpp > coarsest * (1 + TOLERANCE):
        message = (
            f"The slide has {slide_mpp:.4g} um per pixel; at most {coarsest:.4g} is "
            "fine enough for nuclei to be seen. Scan it at a higher resolution, or "
            "pass --mpp if the file states it wrong."
        )
        raise MppImplausible(message)
    limit = mpp * (1 + TOLERANCE)
    fine = [
        i for i, level in enumerate(levels) if slide_mpp * level.downsample <= limit
    ]
    chosen = max(fine, key=lambda i: levels[i].downsample, default=0)
    level = levels[chosen]
    scale = _scale(mpp / (slide_mpp * level.downsample))
    downsample = level.downsample * float(scale)
    return Canvas(
        shape=(math.ceil(level.shape[0] / scale), math.ceil(level.shape[1] / scale)),
        mpp=slide_mpp * downsample,
        downsample=downsample,
        level=chosen,
        scale=scale.as_integer_ratio(),
    )


def _scale(wanted: float) -> Fraction:
    """Return ``wanted`` as n or 1 / n if one is near, else as a simple fraction."""
    whole = Fraction(round(wanted)) if wanted >= 1 else Fraction(1, round(1 / wanted))
    if abs(wanted / whole - 1) <= TOLERANCE:
        return whole
    return Fraction(wanted).limit_denominator(1000)


def read_canvas(slide: Slide, canvas: Canvas, box: Box) -> RGB:
    """Read a box of the canvas; the same pixels whatever the box (integer arithmetic).

    Returns
    -------
    (Y, X, 3) uint8
        White outside the slide.
    """
    if canvas.ratio == 1:
        return slide.read(box, canvas.level)
    source = source_box(box, canvas.ratio)
    pixels = slide.read(source, canvas.level)
    return resample(pixels, box=box, scale=canvas.ratio, source=source)


BLOCK_LEVEL_PX = 4096
"""A whole canvas is read in blocks of this side on its level, which may be huge."""


def read_whole(slide: Slide, canvas: Canvas) -> RGB:
    """Read a small canvas whole, block by block.

    Returns
    -------
    (Y, X, 3) uint8
    """
    picture = np.empty((*canvas.shape, 3), np.uint8)
    block_px = max(1, int(BLOCK_LEVEL_PX / canvas.ratio))
    blocks = TileGrid(shape=canvas.shape, tile_px=block_px)
    for index in range(len(blocks)):
        box = blocks.core(index)
        picture[box.slices()] = read_canvas(slide, canvas, box)
    return picture
