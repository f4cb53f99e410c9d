"""The slide that every reader hands out: levels, mpp, and boxes read onto white.

A reader only says how to fetch a box that lies inside a level; what lies outside, the
sanity of the levels, closing and the translation of errors are settled here once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from segpipe.arrays import RGB
from segpipe.errors import SlideCorrupt, SlideTooLarge
from segpipe.geometry import Box
from segpipe.slides._protocol import Level
from segpipe.slides._translation import translated

WHITE = 255
MAX_PIXELS = 2**38
"""Level-0 pixels that no real slide has: 524 288 squared, 13 cm at 0.25 um."""

MAX_SIDE = 2**21
"""Longest side in pixels: 10 cm at 0.05 um."""

MAX_PIECE_PIXELS = 10_000**2
"""A tile, strip or flat picture is decoded whole: with what the decoder of a
progressive JPEG holds besides, that is a gigabyte."""

MAX_PIECES = 2**22
"""Tiles or strips of a level; twice as many as the largest slide has of 256 pixels."""

MAX_LEVELS = 64
"""More than one level for each halving."""

BLEND_ROWS = 256
"""Rows blended at a time; the numbers needed for it are wide."""

Fetch = Callable[[Box, int], RGB]
"""``fetch(box, level)`` for a box that is not empty and lies inside the level."""


@dataclass(slots=True, kw_only=True)
class PyramidSlide:
    """An open slide; see :class:`segpipe.slides.Slide` for the contract."""

    path: Path
    levels: tuple[Level, ...]
    mpp: float | None
    properties: Mapping[str, str]
    fetch: Fetch = field(repr=False)
    """How the format reads a box inside a level."""
    release: Callable[[], None] = field(repr=False)
    """Gives back the file handles; called once."""
    is_open: bool = field(default=True, init=False)
    """Whether it may still be read."""

    def read(self, box: Box, level: int) -> RGB:
        """Read a box in pixels of ``level``; white where the slide has none.

        Raises
        ------
        SlideCorrupt
            If the pixels can't be decoded.
        ValueError
            If there is no such level or the slide has been closed.
        """
        inside = box.intersection(Box.of_shape(self._level(level).shape))
        if inside.is_empty:
            return blank(box.shape)
        with translated(self.path, f"decode {inside} of level {level}"):
            pixels = self.fetch(inside, level)
        if inside == box:
            return np.require(pixels, np.uint8, ["C", "W"])
        canvas = blank(box.shape)
        canvas[inside.relative_to(box).slices()] = pixels
        return canvas

    def close(self) -> None:
        """Give back the file handles; closing twice does no harm."""
        if self.is_open:
            self.is_open = False
            self.fetch = _nothing
            self.release()

    def _level(self, level: int) -> Level:
        if not self.is_open:
            message = f"{self.path} was closed; open it again before reading."
            raise ValueError(message)
        if not 0 <= level < len(self.levels):
            message = (
                f"{self.path} has levels 0 to {len(self.levels) - 1}; "
                f"level {level} was asked."
            )
            raise ValueError(message)
        return self.levels[level]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _nothing(box: Box, _level: int) -> RGB:
    """Stand for a closed slide, so that what it held in memory goes."""
    return blank(box.shape)


def blank(shape: tuple[int, int]) -> RGB:
    """Return a white (Y, X, 3) picture."""
    return np.full((*shape, 3), WHITE, np.uint8)


def levels_of(path: Path, shapes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Turn the shapes of a pyramid, fine to coarse, into levels.

    Raises
    ------
    SlideCorrupt, SlideTooLarge
        If a shape is not sane.
    """
    if len(shapes) > MAX_LEVELS:
        message = (
            f"{path} declares {len(shapes)} levels; no pyramid has more than "
            f"{MAX_LEVELS}: it is damaged. Export it again."
        )
        raise SlideCorrupt(message)
    for shape in shapes:
        refuse_insane(path, shape)
    return tuple(Level(shape=s, downsample=downsample(shapes[0], s)) for s in shapes)


def refuse_insane(path: Path, shape: tuple[int, int]) -> None:
    """Refuse a declared height and width that no slide has.

    Raises
    ------
    SlideCorrupt
        If there is no pixel.
    SlideTooLarge
        If there are more than ``MAX_PIXELS``, or ``MAX_SIDE`` along a side.
    """
    height, width = shape
    if min(shape) < 1:
        message = f"{path} declares {height} x {width} pixels: it is damaged."
        raise SlideCorrupt(message)
    if height * width > MAX_PIXELS or max(shape) > MAX_SIDE:
        message = (
            f"{path} declares {height} x {width} pixels, more than any real slide has "
            f"(at most {MAX_SIDE} along a side and {MAX_PIXELS} in all): it is "
            "damaged, or made to exhaust memory. Export it again."
        )
        raise SlideTooLarge(message)


def refuse_many_pieces(
    path: Path, shape: tuple[int, int], piece: tuple[int, int]
) -> None:
    """Refuse a level of more tiles or strips than can be kept track of.

    Raises
    ------
    SlideTooLarge
        If there are more than ``MAX_PIECES``.
    """
    n_pieces = -(-shape[0] // max(piece[0], 1)) * -(-shape[1] // max(piece[1], 1))
    if n_pieces > MAX_PIECES:
        message = (
            f"{path} declares {shape[0]} x {shape[1]} pixels in {n_pieces} pieces of "
            f"{piece[0]} x {piece[1]}; {MAX_PIECES} is the limit. It is damaged, or "
            "must be exported with tiles of 256 pixels or more."
        )
        raise SlideTooLarge(message)


def refuse_huge_pieces(
    path: Path, shape: tuple[int, int], *, most: int = MAX_PIECE_PIXELS
) -> None:
    """Refuse tiles, strips or chunks too large to be decoded.

    Raises
    ------
    SlideTooLarge
        If one has more than ``most`` pixels.
    """
    rows, columns = shape
    if rows * columns > most:
        message = (
            f"{path} is stored in pieces of {rows} x {columns} pixels, and each is "
            f"decoded whole; {most} pixels is the limit. It is damaged, or "
            "must be exported as a pyramid of smaller tiles."
        )
        raise SlideTooLarge(message)


def downsample(full: tuple[int, int], shape: tuple[int, int]) -> float:
    """Return level-0 pixels per pixel of a level of ``shape``.

    The mean of both ratios, snapped to the nearest power of two, else to the nearest
    whole number, if the shape is what rounding leaves of it (up or down, once a level).
    """
    ratio = (full[0] / shape[0] + full[1] / shape[1]) / 2
    for whole in (2 ** round(np.log2(ratio)), round(ratio)):
        if whole >= 1 and _is_rounded(full, shape, whole):
            return float(whole)
    return ratio


def _is_rounded(full: tuple[int, int], shape: tuple[int, int], ratio: int) -> bool:
    return all(abs(f / ratio - s) <= 1 for f, s in zip(full, shape, strict=True))


def is_level_of(full: tuple[int, int], shape: tuple[int, int]) -> bool:
    """Whether a picture of ``shape`` can be a smaller level of one of ``full``.

    That is, whether one ratio above 1 explains both sides up to a pixel of rounding.
    """
    least = max(f / (s + 1) for f, s in zip(full, shape, strict=True))
    most = min(f / max(s - 1, 0.5) for f, s in zip(full, shape, strict=True))
    smaller = all(s < f or f == 1 for f, s in zip(full, shape, strict=True))
    return smaller and least <= most


def over_white(rgba: RGB, *, is_premultiplied: bool = False) -> RGB:
    """Lay (Y, X, 4) uint8 pixels over white, rounded to the nearest, exactly.

    Parameters
    ----------
    rgba
        Colour and alpha; 0 is transparent.
    is_premultiplied
        Whether colour has been multiplied by alpha already.
    """
    alpha = rgba[..., 3:]
    if (alpha == WHITE).all():
        return np.ascontiguousarray(rgba[..., :3])
    blended = np.empty((*rgba.shape[:2], 3), np.uint8)
    for top in range(0, rgba.shape[0], BLEND_ROWS):
        rows = slice(top, top + BLEND_ROWS)
        wide = rgba[rows, :, :3].astype(np.uint32)
        through = np.uint32(WHITE) - alpha[rows]
        blended[rows] = (
            np.minimum(wide + through, WHITE)
            if is_premultiplied
            else (wide * alpha[rows] + WHITE * through + WHITE // 2) // WHITE
        )
    return blended
