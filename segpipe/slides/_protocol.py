"""What a reader is: it opens a slide, tells the truth about it, and reads a box.

A reader does not resample, guess, mask or cache. One file per format ends in
``READER = Reader(...)``; the opening finds it by its module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from segpipe.arrays import RGB
from segpipe.geometry import Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One resolution of a slide."""

    shape: tuple[int, int]
    """Height and width in pixels of this level."""
    downsample: float
    """Level-0 pixels per pixel of this level; 1.0 for level 0."""


class Slide(Protocol):
    """An open slide. Usable from one thread; open one per worker."""

    @property
    def path(self) -> Path:
        """The file or folder."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """From fine to coarse; level 0 has downsample 1."""

    @property
    def mpp(self) -> float | None:
        """Micrometres per level-0 pixel as the file states it, or ``None``."""

    @property
    def properties(self) -> Mapping[str, str]:
        """Facts worth showing: vendor, compression, objective, scan date."""

    def read(self, box: Box, level: int) -> RGB:
        """Read a box, in pixels of ``level``.

        Returns
        -------
        (Y, X, 3) uint8
            Of the shape of the box. Outside the slide, and where the file has no
            pixels or transparent ones, white (255).

        Raises
        ------
        SlideCorrupt
            If the pixels can't be decoded.
        """

    def close(self) -> None:
        """Give back the file handles; closing twice does no harm."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A format that segpipe reads."""

    name: str
    """Short name, e.g. ``"tiff"``."""
    formats: tuple[str, ...]
    """What it reads, for people: ``("Aperio SVS", "OME-TIFF", …)``."""
    suffixes: tuple[str, ...]
    """Lower-case file endings that a folder search takes as slides."""
    priority: int
    """Of several readers that claim a file, the lowest priority opens it."""
    claims: Callable[[Path], bool]
    """Whether this reader takes the file, judged cheaply by its first bytes."""
    open: Callable[[Path], Slide]
    """Open it; raises a SlideError that says what is wrong."""
