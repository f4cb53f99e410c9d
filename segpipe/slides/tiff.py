"""Tiled and pyramidal TIFF, Aperio SVS, OME-TIFF and QPTIFF, by tifffile's tags.

Tags are read once; tiles are then read with ``pread`` and decoded by imagecodecs, four
to five times as fast as through OpenSlide (Aperio JPEG, boxes of 1024 pixels). Formats
that are TIFF in name only (NDPI's one endless strip, BIF's overlapping tiles, SCN's
collections, Philips' padded levels, the unsaid YCbCr of JPEG 2000 33003) are left to
OpenSlide.
"""

from __future__ import annotations

import logging
from functools import cache
from io import FileIO
from pathlib import Path

from tifffile import TiffFile, TiffFileError, TiffPage

from segpipe.arrays import RGB
from segpipe.geometry import Box
from segpipe.slides._magic import first_bytes
from segpipe.slides._protocol import Reader, Slide
from segpipe.slides._pyramid import Fetch, PyramidSlide, levels_of
from segpipe.slides._tiff_cuts import pages_of
from segpipe.slides._tiff_directories import refuse_heaps
from segpipe.slides._tiff_pages import (
    APERIO_YCBCR,
    Pyramid,
    pyramid_of,
)
from segpipe.slides._tiff_resolution import aperio_entries, resolution_of
from segpipe.slides._tiff_segments import (
    Segments,
    read_segments,
    segments_of,
)
from segpipe.slides._translation import translated

logging.getLogger("tifffile").addHandler(logging.NullHandler())
"""What tifffile finds odd is judged here; it need not also print it."""

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Classic and big TIFF, little and big endian."""
OPENSLIDE_SOFTWARE = ("Philips", "MedScan", "Ventana", "ScanOutputManager")
"""Beginnings of the tag Software of Philips, Trestle and Ventana files."""


def claims(path: Path) -> bool:
    """Whether the file is a TIFF that isn't better left to OpenSlide."""
    if first_bytes(path, 4) not in MAGIC:
        return False
    try:
        refuse_heaps(path, n_pages=1)
        with TiffFile(path) as tiff:
            return not tiff.pages or not _is_for_openslide(tiff.pages.first)
    except (
        ArithmeticError,
        LookupError,
        OSError,
        TiffFileError,
        TypeError,
        ValueError,
    ):
        return True  # damaged: opening it says how


def _is_for_openslide(page: TiffPage) -> bool:
    return bool(
        page.is_ndpi
        or page.is_bif
        or page.is_scn
        or page.software.startswith(OPENSLIDE_SOFTWARE)
        or page.compression == APERIO_YCBCR
    )


def open_tiff(path: Path) -> Slide:
    """Open a TIFF.

    Raises
    ------
    SlideCorrupt
        If tags or tiles are damaged or lie outside the file.
    SlideUnsupported
        If it isn't 8-bit RGB, e.g. fluorescence.
    SlideTooLarge
        If it declares more pixels than any slide has.
    """
    with translated(path, "read its TIFF header"):
        refuse_heaps(path)
        tiff = TiffFile(path)
    with tiff:
        pyramid = pyramid_of(path, pages_of(path, tiff))
        with translated(path, "read its TIFF tags"):
            return _slide(path, pyramid)


def _slide(path: Path, pyramid: Pyramid) -> Slide:
    levels = levels_of(path, [(p.imagelength, p.imagewidth) for p in pyramid.pages])
    scan = pyramid.pages[0]
    resolution = resolution_of(scan)
    segments = [segments_of(page) for page in pyramid.pages]
    file = FileIO(path)
    try:
        fetch = _fetch(file, segments)
        _probe(path, fetch, segments)
    except BaseException:
        file.close()
        raise
    return PyramidSlide(
        path=path,
        levels=levels,
        mpp=resolution.mpp,
        properties=_properties(scan, pyramid.n_left_out) | resolution.properties(),
        fetch=fetch,
        release=file.close,
    )


def _probe(path: Path, fetch: Fetch, segments: list[Segments]) -> None:
    """Decode a tile of each level, so that an unreadable slide isn't opened."""
    for level, page in enumerate(segments):
        corner = page.first_stored()
        if corner is not None:
            with translated(path, f"decode the tile at {corner} of level {level}"):
                fetch(corner, level)


def _fetch(file: FileIO, segments: list[Segments]) -> Fetch:
    """Return how to read a box of a level.

    A page that is one tile or strip can only be decoded whole, so it is decoded once.
    """

    @cache
    def whole(level: int) -> RGB:
        page = segments[level]
        pixels = read_segments(file.fileno(), page, Box.of_shape(page.shape))
        pixels.setflags(write=False)
        return pixels

    def fetch(box: Box, level: int) -> RGB:
        if segments[level].is_one_piece:
            return whole(level)[box.slices()]
        return read_segments(file.fileno(), segments[level], box)

    return fetch


def _properties(scan: TiffPage, n_left_out: int) -> dict[str, str]:
    shown = {
        "format": _format(scan),
        "compression": getattr(scan.compression, "name", str(scan.compression)),
        "tile": f"{scan.tilelength} x {scan.tilewidth}" if scan.is_tiled else "strips",
        "pictures left out": str(n_left_out),
    }
    entries = aperio_entries(scan.description) if scan.is_svs else {}
    named = {"objective": "AppMag", "scanner": "ScanScope ID", "scan date": "Date"}
    return shown | {name: entries[key] for name, key in named.items() if key in entries}


def _format(scan: TiffPage) -> str:
    if scan.is_svs:
        return "Aperio SVS"
    if scan.is_qpi:
        return "PerkinElmer QPTIFF"
    return "OME-TIFF" if scan.parent.is_ome else "TIFF"


READER = Reader(
    name="tiff",
    formats=("Aperio SVS", "OME-TIFF", "tiled and pyramidal TIFF", "QPTIFF", "TIFF"),
    suffixes=(".svs", ".tif", ".tiff", ".qptiff", ".btf", ".tf2", ".tf8"),
    priority=20,
    claims=claims,
    open=open_tiff,
)
