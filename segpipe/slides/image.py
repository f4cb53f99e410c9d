"""Flat pictures: PNG, JPEG and BMP by Pillow, ``.npy`` mapped from disk; one level.

A compressed flat picture can only be decoded whole, so it is held in memory; at
``MAX_PIECE_PIXELS`` that stops.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from segpipe.arrays import RGB
from segpipe.errors import SlideTooLarge, SlideUnsupported
from segpipe.geometry import Box
from segpipe.slides._declared import refuse_many_scans
from segpipe.slides._magic import first_bytes
from segpipe.slides._protocol import Reader, Slide
from segpipe.slides._pyramid import (
    MAX_PIECE_PIXELS,
    PyramidSlide,
    levels_of,
    over_white,
)
from segpipe.slides._resolution import UM_PER_UNIT, UNSTATED, Resolution, judged
from segpipe.slides._translation import translated

PILLOW_FORMATS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
}
"""What Pillow may open, by magic bytes; it knows many formats more than are wanted."""
NPY = b"\x93NUMPY"
ROWS = 256
"""Rows converted at a time."""
COLOUR_MODES = ("RGB", "RGBA", "P", "PA")
"""Pillow's modes of RGB with and without alpha, direct and by palette."""


def claims(path: Path) -> bool:
    """Whether the file starts as PNG, JPEG, BMP or npy does."""
    return first_bytes(path, 8).startswith((*PILLOW_FORMATS, NPY))


def open_image(path: Path) -> Slide:
    """Open a flat picture as a slide of one level.

    Raises
    ------
    SlideUnsupported
        If it isn't 8-bit RGB or RGBA.
    SlideCorrupt
        If it can't be decoded or is cut off.
    SlideTooLarge
        If it is too large to decode whole.
    """
    if first_bytes(path, len(NPY)) == NPY:
        return _slide(path, _mapped(path), UNSTATED, "NumPy array")
    pixels, resolution, kind = _decoded(path)
    pixels.setflags(write=False)
    return _slide(path, pixels, resolution, kind)


def _slide(path: Path, pixels: RGB, resolution: Resolution, kind: str) -> Slide:
    def fetch(box: Box, _level: int) -> RGB:
        return pixels[box.slices()]

    return PyramidSlide(
        path=path,
        levels=levels_of(path, [(pixels.shape[0], pixels.shape[1])]),
        mpp=resolution.mpp,
        properties={"format": kind} | resolution.properties(),
        fetch=fetch,
        release=lambda: None,
    )


def _mapped(path: Path) -> RGB:
    with translated(path, "map it as an npy file of plain numbers"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        message = (
            f"{path} holds an array of shape {array.shape} and type {array.dtype}; "
            "segpipe reads (Y, X, 3) of uint8, brightfield RGB. Convert it."
        )
        raise SlideUnsupported(message)
    return np.asarray(array)


def _decoded(path: Path) -> tuple[RGB, Resolution, str]:
    with warnings.catch_warnings(), translated(path, "decode it"):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(path, formats=tuple(PILLOW_FORMATS.values()))
        except Image.DecompressionBombError as error:
            raise SlideTooLarge(_too_large(path, str(error))) from error
        with picture:
            _refuse_large(path, picture)
            _refuse_grey(path, picture)
            if picture.format == "JPEG":
                refuse_many_scans(path.read_bytes())
            return _pixels(picture), _resolution(picture), f"{picture.format}, flat"


def _pixels(picture: Image.Image) -> RGB:
    """Take the pixels a few rows at a time: they are there twice, not thrice."""
    has_alpha = picture.mode in {"RGBA", "PA"} or "transparency" in picture.info
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    picture.load()
    for top in range(0, picture.height, ROWS):
        bottom = min(top + ROWS, picture.height)
        rows = picture.crop((0, top, picture.width, bottom))
        pixels[top:bottom] = (
            over_white(np.asarray(rows.convert("RGBA")))
            if has_alpha
            else np.asarray(rows.convert("RGB"))
        )
    return pixels


def _refuse_large(path: Path, picture: Image.Image) -> None:
    if picture.height * picture.width > MAX_PIECE_PIXELS:
        found = (
            f"{picture.height} x {picture.width} pixels; {MAX_PIECE_PIXELS} is the "
            "limit."
        )
        raise SlideTooLarge(_too_large(path, found))


def _refuse_grey(path: Path, picture: Image.Image) -> None:
    if picture.mode in COLOUR_MODES:
        return
    message = (
        f"{path} is a picture of mode {picture.mode}, {picture.height} x "
        f"{picture.width} pixels: grey, 16-bit or CMYK, not H&E in RGB. "
        "segpipe reads brightfield RGB of 8 bit; convert or export it as that."
    )
    raise SlideUnsupported(message)


def _resolution(picture: Image.Image) -> Resolution:
    """Judge the density of a PNG (pHYs), JPEG (JFIF) or BMP, which Pillow gives in dpi.

    What paint programs write, 72, 96 or 300 dpi, is no microscope's resolution.
    """
    width, height = picture.info.get("dpi", (0, 0))
    if not width or not height:
        return UNSTATED
    return judged(UM_PER_UNIT["inch"] / height, UM_PER_UNIT["inch"] / width)


def _too_large(path: Path, found: str) -> str:
    return (
        f"{path} is a flat picture too large to decode whole ({found}) "
        "Save it as a tiled TIFF, e.g. by: "
        "vips tiffsave IN OUT.tif --tile --pyramid --bigtiff --compression jpeg"
    )


READER = Reader(
    name="image",
    formats=("PNG", "JPEG", "BMP", "NumPy .npy of (Y, X, 3) uint8"),
    suffixes=(".png", ".jpg", ".jpeg", ".bmp", ".npy"),
    priority=40,
    claims=claims,
    open=open_image,
)
