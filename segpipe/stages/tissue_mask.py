"""The tissue mask of a slide, and the windows it selects."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy import ndimage

from segpipe.arrays import Mask
from segpipe.errors import MppImplausible, NoTissue, SettingsError, SlideTooLarge
from segpipe.geometry import Box
from segpipe.slides._protocol import Slide
from segpipe.stages.canvas import choose_canvas, read_whole
from segpipe.stages.plan import Canvas
from segpipe.tiling.grid import TileGrid
from segpipe.tissue import tissue_mask

MASK_MPP = (2.0, 4.0, 8.0, 16.0)
"""Resolutions of the mask, the first that gives at most ``MOST_PIXELS``."""
MOST_PIXELS = 6_000_000
LARGEST_MASK_PIXELS = 4 * MOST_PIXELS
"""At the coarsest resolution: 60 square centimetres, three times a common glass."""
MOST_LEVEL_PIXELS = 2**33
"""Pixels of the level that the mask is made from: a few minutes of reading."""
GROW_UM = 24.0
"""Tissue is grown by about two nuclei, so none at its rim is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """Where the tissue is."""

    mask: Mask
    """(Y, X) bool at ``mpp``."""
    mpp: float
    """Micrometres per mask pixel."""

    @property
    def mm2(self) -> float:
        """Area of the tissue."""
        return float(self.mask.sum()) * self.mpp**2 / 1e6


def find_tissue(slide: Slide, slide_mpp: float, given: Path | None) -> Tissue:
    """Detect the tissue of a slide, or take the mask that is given.

    Raises
    ------
    NoTissue
        If the mask is empty.
    SettingsError
        If the given mask can't be read or has another aspect.
    MppImplausible, SlideTooLarge
        If looking for it would take gigabytes or hours.
    """
    overview = _overview_canvas(slide, slide_mpp)
    mask = (
        tissue_mask(read_whole(slide, overview), mpp=overview.mpp)
        if given is None
        else _given_mask(given, overview.shape)
    )
    if not mask.any():
        message = (
            f"No tissue found in {slide.path} ({mask.shape[0]} x {mask.shape[1]} px "
            f"looked at, {overview.mpp:.3g} um each). If there is some, pass "
            "--tissue-mask with a picture of it (nonzero is tissue)."
            if given is None
            else f"The tissue mask {given} is empty: no pixel of it is above zero."
        )
        raise NoTissue(message)
    return Tissue(mask=mask, mpp=overview.mpp)


def select_windows(
    tissue: Tissue, canvas: Canvas, windows: TileGrid
) -> tuple[int, ...]:
    """Return the windows whose core holds grown tissue."""
    steps = ceil(GROW_UM / tissue.mpp)
    grown = ndimage.binary_dilation(tissue.mask, iterations=steps)
    scale = canvas.mpp / tissue.mpp
    return tuple(
        index
        for index in range(len(windows))
        if _any_within(grown, windows.core(index), scale)
    )


def _any_within(mask: Mask, box: Box, scale: float) -> bool:
    rows = slice(floor(box.y0 * scale), ceil(box.y1 * scale))
    cols = slice(floor(box.x0 * scale), ceil(box.x1 * scale))
    return bool(mask[rows, cols].any())


def _overview_canvas(slide: Slide, slide_mpp: float) -> Canvas:
    finest = max(MASK_MPP[0], slide_mpp)
    choices = [finest, *(mpp for mpp in MASK_MPP if mpp > finest)]
    canvases = [choose_canvas(slide.levels, slide_mpp, mpp) for mpp in choices]
    small = [c for c in canvases if c.box.area <= MOST_PIXELS]
    chosen = small[0] if small else canvases[-1]
    _refuse_endless(slide, chosen)
    return chosen


def _refuse_endless(slide: Slide, overview: Canvas) -> None:
    """Refuse a slide whose overview would take gigabytes or hours.

    Raises
    ------
    MppImplausible
        If it is larger than any glass.
    SlideTooLarge
        If it has no smaller level to look at.
    """
    if overview.box.area > LARGEST_MASK_PIXELS:
        height, width = (side * overview.mpp / 1e4 for side in overview.shape)
        message = (
            f"{slide.path} would be {height:.1f} x {width:.1f} cm, larger than any "
            "glass, by its number of pixels and their size. Pass the true micrometres "
            "per level-0 pixel with --mpp."
        )
        raise MppImplausible(message)
    level = slide.levels[overview.level]
    if level.shape[0] * level.shape[1] > MOST_LEVEL_PIXELS:
        message = (
            f"{slide.path} has no level small enough to look for tissue in: the best "
            f"is level {overview.level} of {level.shape[0]} x {level.shape[1]} pixels, "
            f"more than {MOST_LEVEL_PIXELS}. Export it as a pyramid."
        )
        raise SlideTooLarge(message)


def _given_mask(path: Path, shape: tuple[int, int]) -> Mask:
    """Read a mask picture and bring it to ``shape``, nearest pixel."""
    try:
        with Image.open(path) as picture:
            given = np.asarray(picture.convert("L")) > 0
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        message = f"Tissue mask {path} can't be read as a picture: {error}."
        raise SettingsError(message) from error
    aspect, wanted = given.shape[1] / given.shape[0], shape[1] / shape[0]
    if abs(aspect / wanted - 1) > 0.03:
        message = (
            f"Tissue mask {path} is {given.shape[0]} x {given.shape[1]} px, of another "
            f"aspect ({aspect:.3f}) than the slide ({wanted:.3f}). Give one that "
            "covers the whole slide, at any resolution."
        )
        raise SettingsError(message)
    rows = (np.arange(shape[0]) * given.shape[0]) // shape[0]
    cols = (np.arange(shape[1]) * given.shape[1]) // shape[1]
    return given[np.ix_(rows, cols)]
