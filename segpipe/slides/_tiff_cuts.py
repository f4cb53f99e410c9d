"""Whether a TIFF is all there: its chain of pages, their tags, and their pixels.

tifffile reads what it can of a file that was cut off, drops the tags it can't and goes
on. A slide that lost its mpp, its shared JPEG tables or its last rows that way would be
read wrongly, so everything that a page points to must lie inside the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tifffile import TiffFile, TiffPage

from segpipe.errors import SlideCorrupt
from segpipe.slides._pyramid import refuse_insane, refuse_many_pieces
from segpipe.slides._translation import translated

TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4,
    10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
"""Bytes of a value of each type of tag (TIFF 6.0, section 2; BigTIFF's 16 to 18)."""
AT_LEAST_ONE = (
    "imagelength",
    "imagewidth",
    "imagedepth",
    "samplesperpixel",
    "planarconfig",
    "compression",
)
AT_LEAST_ZERO = ("photometric", "subfiletype", "tilewidth", "tilelength")
OF_TILES, OF_STRIPS = ("tilelength", "tiledepth"), ("rowsperstrip",)
"""The whole numbers that a page is laid out by; damage makes tuples or text of them."""


def pages_of(path: Path, tiff: TiffFile) -> tuple[TiffPage, ...]:
    """Read the tags of every top-level page and of those below them.

    Raises
    ------
    SlideCorrupt
        If there is no page, or what a page points to lies outside the file.
    SlideTooLarge
        If a page declares more pixels than any slide has.
    """
    with translated(path, "read its TIFF tags"):
        pages = tuple(tiff.pages)
        below = tuple(sub for page in pages for sub in page.pages or ())
    if not pages:
        message = f"{path} is damaged: its TIFF header leads to no page. Copy it again."
        raise SlideCorrupt(message)
    _refuse_cut_chain(path, tiff)
    for page in (*pages, *below):
        _refuse_cut_tags(path, tiff, page)
        _refuse_odd_tags(path, page)
        refuse_insane(path, (page.imagelength, page.imagewidth))
        refuse_many_pieces(path, (page.imagelength, page.imagewidth), _piece(page))
        _refuse_cut_pixels(path, page)
    return pages


def _refuse_cut_chain(path: Path, tiff: TiffFile) -> None:
    """Refuse a file whose last readable page names a next one."""
    with translated(path, "follow its chain of pages"):
        tiff.filehandle.seek(tiff.pages.next_page_offset)
        pointer = tiff.filehandle.read(tiff.tiff.offsetsize)
    following = int.from_bytes(pointer, "little" if tiff.byteorder == "<" else "big")
    if following:
        message = (
            f"{path} is cut off: page {len(tiff.pages)} should start at byte "
            f"{following}, but the file has {path.stat().st_size}. Copy it again."
        )
        raise SlideCorrupt(message)


def _refuse_cut_tags(path: Path, tiff: TiffFile, page: TiffPage) -> None:
    """Refuse a page with a tag whose value lies outside the file."""
    found = path.stat().st_size
    with translated(path, f"read the tags of page {page.index}"):
        ends = list(_value_ends(tiff, page))
    for code, end in ends:
        if end > found:
            message = (
                f"{path} is cut off: it has {found} bytes, but tag {code} of page "
                f"{page.index} ends at {end}. Copy it again."
            )
            raise SlideCorrupt(message)


def _value_ends(tiff: TiffFile, page: TiffPage) -> Iterator[tuple[int, int]]:
    """Yield the code of each tag whose value lies elsewhere, and where that ends."""
    entry = struct.Struct(f"{tiff.byteorder}HH{'QQ' if tiff.is_bigtiff else 'II'}")
    tiff.filehandle.seek(page.offset)
    (n_tags,) = struct.unpack(
        tiff.tiff.tagnoformat, tiff.filehandle.read(tiff.tiff.tagnosize)
    )
    directory = tiff.filehandle.read(n_tags * entry.size)
    for code, kind, count, offset in entry.iter_unpack(directory):
        n_bytes = count * TYPE_BYTES.get(kind, 0)
        if n_bytes > tiff.tiff.offsetsize:
            yield code, offset + n_bytes


def _refuse_odd_tags(path: Path, page: TiffPage) -> None:
    _refuse_below(path, page, 0, AT_LEAST_ZERO)
    _refuse_below(path, page, 1, AT_LEAST_ONE)
    _refuse_below(path, page, 1, OF_TILES if page.is_tiled else OF_STRIPS)


def _refuse_below(path: Path, page: TiffPage, least: int, names: Sequence[str]) -> None:
    for name in names:
        value = getattr(page, name)
        if not isinstance(value, int) or value < least:
            message = (
                f"{path} is damaged: {name} of page {page.index} is {value!s:.60}. "
                "Copy or export the slide again."
            )
            raise SlideCorrupt(message)


def _refuse_cut_pixels(path: Path, page: TiffPage) -> None:
    with translated(path, f"read where the pixels of page {page.index} lie"):
        offsets = np.asarray(page.dataoffsets, np.int64)
        sizes = np.asarray(page.databytecounts, np.int64)
    n_needed = _n_segments(page)
    if not n_needed == offsets.size == sizes.size:
        message = (
            f"{path} is damaged: page {page.index} needs {n_needed} tiles or strips, "
            f"but the file gives {offsets.size} offsets and {sizes.size} sizes. "
            "Copy or export the slide again."
        )
        raise SlideCorrupt(message)
    found = path.stat().st_size
    n_missing = int(np.count_nonzero(offsets + sizes > found))
    if n_missing:
        message = (
            f"{path} is cut off: it has {found} bytes, but page {page.index} needs "
            f"{int((offsets + sizes).max())}; {n_missing} of {offsets.size} tiles or "
            "strips are incomplete. Copy it again."
        )
        raise SlideCorrupt(message)


def _piece(page: TiffPage) -> tuple[int, int]:
    """Return the height and width of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return page.rowsperstrip, page.imagewidth


def _n_segments(page: TiffPage) -> int:
    rows, columns = _piece(page)
    depth = page.tiledepth if page.is_tiled else 1
    n_places = -(-page.imagelength // rows) * -(-page.imagewidth // columns)
    n_planes = page.samplesperpixel if page.planarconfig == 2 else 1
    return int(n_places * -(-page.imagedepth // depth) * n_planes)
