"""Read a box of one TIFF page: the tiles or strips it needs, by ``pread``, decoded.

``os.pread`` has no file position and so needs no lock, and the decoder of a page is a
function of bytes: nothing of the open TIFF is needed once its tags have been read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffPage

from segpipe.arrays import RGB
from segpipe.geometry import Box
from segpipe.slides._declared import refuse_more_than
from segpipe.slides._pyramid import blank, over_white

OF_BYTES = frozenset({1, 5, 8, 32773, 32946, 34925, 34926, 50000, 50013})
"""Compressions of bytes (none, LZW, Deflate, PackBits, LZMA, Zstandard), which are
unpacked to the size of a segment and no further; the others are of pictures."""
PREMULTIPLIED, STRAIGHT = 1, 2
"""Values of the tag ExtraSamples; 0 says that the fourth channel is not alpha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Where the pixels of one page lie and how they are decoded.

    A segment is a tile, or a strip; of a planar picture, one colour of it.
    """

    shape: tuple[int, int]
    """Height and width of the page."""
    segment_shape: tuple[int, int]
    """Height and width of a full tile or strip."""
    offsets: NDArray[np.int64]
    """First byte of each segment in the file."""
    sizes: NDArray[np.int64]
    """Bytes of each segment; 0 where the file has no pixels."""
    n_planes: int
    """Colours stored apart from each other; 1 if a segment has all of them."""
    alpha: int | None
    """What ExtraSamples says of a fourth channel; ``None`` without one."""
    decode: Callable[..., Any]
    """``decode(bytes, index, jpegtables=)``: (depth, Y, X, channel) and its place."""
    is_picture: bool
    """Whether a segment is a JPEG or the like, which declares its own size."""
    jpeg_tables: bytes | None
    """Tables shared by the JPEG streams of the page."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of segments."""
        return (
            -(-self.shape[0] // self.segment_shape[0]),
            -(-self.shape[1] // self.segment_shape[1]),
        )

    @property
    def is_one_piece(self) -> bool:
        """Whether the page can only be decoded whole."""
        return self.grid == (1, 1)

    def first_stored(self) -> Box | None:
        """Return the corner pixel of the first segment that has bytes, if any has."""
        stored = np.flatnonzero(self.sizes)
        if not stored.size:
            return None
        n_rows, n_columns = self.grid
        row, column = divmod(int(stored[0]) % (n_rows * n_columns), n_columns)
        y0, x0 = row * self.segment_shape[0], column * self.segment_shape[1]
        return Box(y0, x0, y0 + 1, x0 + 1)

    def meeting(self, box: Box) -> Iterator[tuple[int, Box]]:
        """Yield the index and box of each segment that shares a pixel with ``box``."""
        height, width = self.segment_shape
        n_columns = self.grid[1]
        for row in range(box.y0 // height, -(-box.y1 // height)):
            for column in range(box.x0 // width, -(-box.x1 // width)):
                corner = Box(0, 0, height, width).shifted(row * height, column * width)
                yield (
                    row * n_columns + column,
                    corner.intersection(Box.of_shape(self.shape)),
                )


def segments_of(page: TiffPage) -> Segments:
    """Take from a page's tags what reading it needs."""
    rows = page.tilelength if page.is_tiled else page.rowsperstrip
    columns = page.tilewidth if page.is_tiled else page.imagewidth
    is_planar = page.planarconfig == 2 and page.samplesperpixel > 1
    return Segments(
        shape=(page.imagelength, page.imagewidth),
        segment_shape=(min(rows, page.imagelength), columns),
        offsets=np.asarray(page.dataoffsets, np.int64),
        sizes=np.asarray(page.databytecounts, np.int64),
        n_planes=page.samplesperpixel if is_planar else 1,
        alpha=_alpha(page),
        decode=page.decode,
        is_picture=page.compression not in OF_BYTES,
        jpeg_tables=page.jpegtables,
    )


def _alpha(page: TiffPage) -> int | None:
    if page.samplesperpixel < 4:
        return None
    return int(page.extrasamples[0]) if page.extrasamples else 0


def read_segments(file_number: int, segments: Segments, box: Box) -> RGB:
    """Read a box that lies inside the page, white where the file has no pixels.

    Parameters
    ----------
    file_number
        Descriptor of the open file.
    segments
        The page.
    box
        In pixels of the page.

    Raises
    ------
    EOFError
        If the file ends before a segment does.
    ValueError
        If a segment declares more pixels than it should have.
    """
    canvas = blank(box.shape)
    for index, place in segments.meeting(box):
        pixels = decode_segment(file_number, segments, index)
        if pixels is None:
            continue
        common = place.intersection(box)
        taken = pixels[common.relative_to(place).slices()]
        canvas[common.relative_to(box).slices()] = taken
    return canvas


def decode_segment(file_number: int, segments: Segments, index: int) -> RGB | None:
    """Decode one place of the grid to RGB, or ``None`` where the file has no pixels."""
    n_places = segments.offsets.size // segments.n_planes
    places = range(index, n_places * segments.n_planes, n_places)
    planes = [_decode(file_number, segments, place) for place in places]
    stored = [plane for plane in planes if plane is not None]
    if len(stored) < len(planes):
        return None
    pixels = stored[0] if len(stored) == 1 else np.concatenate(stored, axis=2)
    if segments.alpha in {PREMULTIPLIED, STRAIGHT}:
        return over_white(pixels, is_premultiplied=segments.alpha == PREMULTIPLIED)
    return pixels[..., :3]


def _decode(
    file_number: int, segments: Segments, index: int
) -> NDArray[np.uint8] | None:
    size = int(segments.sizes[index])
    if size == 0:
        return None
    offset = int(segments.offsets[index])
    stored = os.pread(file_number, size, offset)
    if len(stored) < size:
        message = (
            f"the file ends {size - len(stored)} bytes before segment {index} does"
        )
        raise EOFError(message)
    if segments.is_picture:
        refuse_more_than(segments.segment_shape, stored)
    pixels, _, _ = segments.decode(stored, index, jpegtables=segments.jpeg_tables)
    return np.asarray(pixels[0], np.uint8)
