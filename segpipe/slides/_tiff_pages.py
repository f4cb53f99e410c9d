"""Which pages of a TIFF are the slide, and whether they are H&E in brightfield RGB.

A whole-slide TIFF is a heap of pages: the scan, its smaller levels (as pages of their
own, as separate series, or below the scan as SubIFDs), a thumbnail, a photograph of the
label and one of the glass. Nothing but shapes and flags tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tifffile import TIFF, TiffPage

from segpipe.errors import SlideUnsupported
from segpipe.slides._pyramid import MAX_PIECE_PIXELS, is_level_of, refuse_huge_pieces

RGB_PHOTOMETRIC, YCBCR_PHOTOMETRIC = 2, 6
JPEG_FAMILY = frozenset({7, 33007, 34712, 33004, 33005, 50001, 50002})
"""Compressions whose decoder turns YCbCr into RGB by itself."""
NONE = 1
TRANSFORMED = frozenset({33004, 33005, 34712, 50002, 52546})
"""JPEG 2000 and JPEG XL, whose decoders hold whole pictures as wide numbers."""
MAX_TRANSFORMED_PIXELS = 2**25
"""At 21 bytes a pixel (OpenJPEG, measured) 0.7 GB."""
TAKEN = frozenset(
    {5, 7, 8, 32773, 32946, 33007, 34925, 34926, 34927, 34933, 50000, 50001, 50013}
    | TRANSFORMED
)
"""Compressions whose decoders can be kept from unpacking more than a tile: LZW, JPEG,
Deflate, PackBits, LZMA, Zstandard, WebP, PNG, JPEG 2000 and JPEG XL."""
APERIO_YCBCR = 33003
"""JPEG 2000 that holds YCbCr without saying so, at times subsampled: for OpenSlide."""
REDUCED = 1
"""Flag of NewSubfileType: a smaller copy of another page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """The pages of a TIFF that make the slide."""

    pages: tuple[TiffPage, ...]
    """From fine to coarse."""
    n_left_out: int
    """Pages that are something else: label, macro, thumbnail."""


def pyramid_of(path: Path, pages: Sequence[TiffPage]) -> Pyramid:
    """Find the scan and its levels.

    The scan is the first page if a scanner's software wrote the file (Aperio and
    PerkinElmer put it there), else the largest tiled page, else the largest. A level is
    a page of the same proportions that lies below the scan, or is tiled like it, or, if
    nothing is tiled, is flagged as a reduced copy: that leaves out the thumbnail of an
    Aperio file, which is striped.

    Raises
    ------
    SlideUnsupported
        If the scan is not 8-bit RGB, or there are several of the same size.
    SlideTooLarge
        If a tile or strip is too large to decode.
    """
    scan = _scan(pages)
    _refuse_other_than_rgb(path, scan, pages)
    _refuse_several(path, scan, pages)
    below = tuple(scan.pages or ())
    beside = tuple(page for page in pages if _is_made_like(page, scan))
    by_shape = {_shape(page): page for page in (*beside, *below) if _fits(page, scan)}
    smaller = sorted(by_shape.values(), key=_area, reverse=True)
    levels = (scan, *smaller)
    for page in levels:
        _refuse_undecodable(path, page)
    n_levels_beside = len(levels) - len(set(levels) & set(below))
    return Pyramid(pages=levels, n_left_out=len(pages) - n_levels_beside)


def _shape(page: TiffPage) -> tuple[int, int]:
    return page.imagelength, page.imagewidth


def _area(page: TiffPage) -> int:
    return int(page.imagelength * page.imagewidth)


def _scan(pages: Sequence[TiffPage]) -> TiffPage:
    if pages[0].is_svs or pages[0].is_qpi:
        return pages[0]
    tiled = [page for page in pages if page.is_tiled]
    return max(tiled or pages, key=_area)


def _is_made_like(page: TiffPage, scan: TiffPage) -> bool:
    if scan.is_tiled:
        return bool(page.is_tiled)
    return bool(page.subfiletype & REDUCED)


def _fits(page: TiffPage, scan: TiffPage) -> bool:
    return _is_rgb(page) and is_level_of(_shape(scan), _shape(page))


def _is_rgb(page: TiffPage) -> bool:
    is_coloured = page.photometric == RGB_PHOTOMETRIC or (
        page.photometric == YCBCR_PHOTOMETRIC and page.compression in JPEG_FAMILY
    )
    return (
        is_coloured
        and page.dtype == np.uint8
        and page.bitspersample == 8
        and page.samplesperpixel in {3, 4}
        and page.imagedepth == 1
    )


def _refuse_other_than_rgb(
    path: Path, scan: TiffPage, pages: Sequence[TiffPage]
) -> None:
    if _is_rgb(scan):
        return
    n_alike = sum(_shape(page) == _shape(scan) for page in pages)
    height, width = _shape(scan)
    message = (
        f"{path} holds {n_alike} page(s) of {height} x {width} pixels with "
        f"{scan.samplesperpixel} channel(s) of {scan.bitspersample} bit, "
        f"{_photometric(scan)}: that looks like {_guess(scan, n_alike)}, not H&E. "
        "segpipe reads brightfield RGB of 8 bit; export the H&E scan as an RGB TIFF."
    )
    raise SlideUnsupported(message)


def _photometric(page: TiffPage) -> str:
    return getattr(page.photometric, "name", str(page.photometric)).lower()


def _guess(scan: TiffPage, n_alike: int) -> str:
    n_channels = max(n_alike, scan.samplesperpixel)
    if scan.photometric in {RGB_PHOTOMETRIC, YCBCR_PHOTOMETRIC}:
        return "a picture in another colour coding"
    if n_channels > 1:
        return f"fluorescence of {n_channels} channels"
    return "a grey picture or a mask"


def _refuse_several(path: Path, scan: TiffPage, pages: Sequence[TiffPage]) -> None:
    n_alike = sum(
        _shape(page) == _shape(scan)
        and _is_rgb(page)
        and page.is_tiled == scan.is_tiled
        for page in pages
    )
    if n_alike > 1:
        height, width = _shape(scan)
        message = (
            f"{path} holds {n_alike} RGB pictures of {height} x {width} pixels: focal "
            "planes or time points. segpipe reads one; export the sharpest by itself."
        )
        raise SlideUnsupported(message)


def _refuse_undecodable(path: Path, page: TiffPage) -> None:
    is_known = page.compression in TAKEN and page.compression in TIFF.DECOMPRESSORS
    if page.compression != NONE and not is_known:
        message = (
            f"{path} is compressed by method {int(page.compression)}, which segpipe "
            "can't decode. Export it with JPEG, JPEG 2000, WebP, LZW or Deflate tiles."
        )
        raise SlideUnsupported(message)
    columns = page.tilewidth if page.is_tiled else page.imagewidth
    rows = (
        page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    )
    is_transformed = page.compression in TRANSFORMED
    most = MAX_TRANSFORMED_PIXELS if is_transformed else MAX_PIECE_PIXELS
    refuse_huge_pieces(path, (rows, columns), most=most)
