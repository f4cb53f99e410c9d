"""Everything else OpenSlide knows: MRXS, NDPI, SCN, BIF, VMS, Philips, Sakura, CZI ...

OpenSlide speaks of level-0 coordinates and blends when they fall between the pixels of
a level. Where a level's downsample is no whole number its pixels are therefore read in
fixed blocks, so that a pixel doesn't depend on the box it was asked in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import openslide
from openslide import OpenSlide, OpenSlideError

from segpipe.arrays import RGB
from segpipe.errors import SlideUnsupported
from segpipe.geometry import Box
from segpipe.slides._protocol import Reader, Slide
from segpipe.slides._pyramid import (
    Fetch,
    PyramidSlide,
    blank,
    levels_of,
    over_white,
    refuse_huge_pieces,
)
from segpipe.slides._resolution import UNSTATED, Resolution, judged, number
from segpipe.slides._translation import translated

BLOCK_PX = 512
"""Side of the fixed blocks of a level whose downsample is no whole number."""
SHOWN = {
    "format": openslide.PROPERTY_NAME_VENDOR,
    "objective": openslide.PROPERTY_NAME_OBJECTIVE_POWER,
    "comment": openslide.PROPERTY_NAME_COMMENT,
    "bounds x, level-0 pixels": openslide.PROPERTY_NAME_BOUNDS_X,
    "bounds y, level-0 pixels": openslide.PROPERTY_NAME_BOUNDS_Y,
    "bounds width, level-0 pixels": openslide.PROPERTY_NAME_BOUNDS_WIDTH,
    "bounds height, level-0 pixels": openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
}
"""Properties worth showing. Outside the bounds an MRXS is transparent, here white."""


def claims(path: Path) -> bool:
    """Whether OpenSlide recognises a vendor's file."""
    if not path.is_file():
        return False
    try:
        return OpenSlide.detect_format(path) is not None
    except OpenSlideError:
        return True  # recognised, but damaged: opening it says how


def open_openslide(path: Path) -> Slide:
    """Open any slide that OpenSlide can read.

    Raises
    ------
    SlideUnsupported
        If OpenSlide doesn't know the format.
    SlideCorrupt
        If it does but can't read it.
    SlideTooLarge
        If it declares more pixels than any slide has, or tiles too large to decode.
    """
    with translated(path, "open it with OpenSlide"):
        try:
            source = OpenSlide(path)
        except openslide.OpenSlideUnsupportedFormatError as error:
            message = f"{path} is of no format that OpenSlide reads."
            raise SlideUnsupported(message) from error
    shapes = [(height, width) for width, height in source.level_dimensions]
    _refuse_huge_tiles(path, source)
    resolution = _resolution(source.properties)
    return PyramidSlide(
        path=path,
        levels=levels_of(path, shapes),
        mpp=resolution.mpp,
        properties=_properties(source.properties) | resolution.properties(),
        fetch=_fetch(source),
        release=source.close,
    )


def _refuse_huge_tiles(path: Path, source: OpenSlide) -> None:
    """Refuse them here, because OpenSlide ends the process when memory runs out."""
    for level in range(source.level_count):
        prefix = f"openslide.level[{level}].tile"
        height = int(source.properties.get(f"{prefix}-height", 0))
        width = int(source.properties.get(f"{prefix}-width", 0))
        refuse_huge_pieces(path, (height, width))


def _resolution(properties: Mapping[str, str]) -> Resolution:
    height = properties.get(openslide.PROPERTY_NAME_MPP_Y)
    width = properties.get(openslide.PROPERTY_NAME_MPP_X)
    if height is None or width is None:
        return UNSTATED
    return judged(number(height), number(width))


def _properties(properties: Mapping[str, str]) -> dict[str, str]:
    return {name: properties[key] for name, key in SHOWN.items() if key in properties}


def _fetch(source: OpenSlide) -> Fetch:
    shapes = [(height, width) for width, height in source.level_dimensions]

    def fetch(box: Box, level: int) -> RGB:
        ratio = source.level_downsamples[level]
        if ratio == round(ratio):
            return _read(source, box, level)
        canvas = blank(box.shape)
        for block in _blocks(box, shapes[level]):
            common = block.intersection(box)
            pixels = _read(source, block, level)[common.relative_to(block).slices()]
            canvas[common.relative_to(box).slices()] = pixels
        return canvas

    return fetch


def _blocks(box: Box, shape: tuple[int, int]) -> Iterator[Box]:
    """Yield the fixed blocks of a level that share a pixel with ``box``."""
    for y in range(box.y0 // BLOCK_PX, -(-box.y1 // BLOCK_PX)):
        for x in range(box.x0 // BLOCK_PX, -(-box.x1 // BLOCK_PX)):
            block = Box(0, 0, BLOCK_PX, BLOCK_PX).shifted(y * BLOCK_PX, x * BLOCK_PX)
            yield block.intersection(Box.of_shape(shape))


def _read(source: OpenSlide, box: Box, level: int) -> RGB:
    """Read a box from the level-0 pixel nearest to its corner, laid over white."""
    ratio = source.level_downsamples[level]
    corner = (round(box.x0 * ratio), round(box.y0 * ratio))
    return over_white(
        np.asarray(source.read_region(corner, level, (box.width, box.height)))
    )


READER = Reader(
    name="openslide",
    formats=(
        "MIRAX MRXS",
        "Hamamatsu NDPI, VMS, VMU",
        "Leica SCN",
        "Ventana BIF",
        "Philips TIFF",
        "Sakura SVSLIDE",
        "Trestle TIFF",
        "Zeiss CZI",
    ),
    suffixes=(".mrxs", ".ndpi", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi"),
    priority=30,
    claims=claims,
    open=open_openslide,
)
