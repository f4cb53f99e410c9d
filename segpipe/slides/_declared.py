"""How large a compressed picture says it is, before anything of it is decoded.

A decoder gives as many pixels as the compressed bytes declare, whatever the slide says
of its tiles: a kilobyte can make it fill gigabytes. So what is declared is read first.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import imagecodecs

JPEG, JPEG2000, JP2, PNG = (
    b"\xff\xd8",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  ",
    b"\x89PNG\r\n\x1a\n",
)
JPEGXL, JPEGXL_BOXES = b"\xff\x0a", b"\0\0\0\x0cJXL "
START_OF_SCAN = b"\xff\xda"
NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
"""Markers among those of frames that begin none: tables, and one that is reserved."""
NO_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
LS_FRAME = 0xF7
MAX_SCANS = 64
"""A progressive JPEG has about ten; each scan is a pass over all pixels."""
MAX_COMPONENTS = 4
MCU_PX = 16
"""A JPEG may be padded to whole blocks."""
INFLATED_STEP = 2**20

JPEGXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height that the size header has numbers for (ISO/IEC 18181-1, table D.3)."""

Shape = tuple[int, int]


def refuse_more_than(shape: Shape, stored: bytes) -> None:
    """Refuse a compressed picture that declares more pixels than its place has.

    Parameters
    ----------
    shape
        Height and width of the place: a tile, a strip, a frame.
    stored
        JPEG, JPEG-LS, JPEG 2000, JPEG XL, PNG or WebP.

    Raises
    ------
    ValueError
        If it declares more, or doesn't say how much, or has too many scans.
    """
    declared = declared_shape(stored)
    if declared is None:
        message = f"it begins with {stored[:8]!r}, which no known picture does"
        raise ValueError(message)
    place = (shape[0] + MCU_PX) * (shape[1] + MCU_PX)
    if declared[0] * declared[1] > place:
        message = (
            f"it declares {declared[0]} x {declared[1]} pixels where {shape[0]} x "
            f"{shape[1]} are stored"
        )
        raise ValueError(message)
    refuse_many_scans(stored)


def refuse_many_scans(stored: bytes) -> None:
    """Refuse a JPEG that would be passed over without end.

    Raises
    ------
    ValueError
        If it has more than ``MAX_SCANS`` scans.
    """
    n_scans = stored.count(START_OF_SCAN) if stored.startswith(JPEG) else 0
    if n_scans > MAX_SCANS:
        message = f"it has {n_scans} scans; a JPEG has at most {MAX_SCANS}"
        raise ValueError(message)


def declared_shape(stored: bytes) -> Shape | None:
    """Return the height and width a compressed picture declares, if it is a known one.

    Raises
    ------
    ValueError
        If it has more than four channels.
    """
    reading = next((read for magic, read in READING if stored.startswith(magic)), None)
    return None if reading is None else reading(stored)


def _big(stored: bytes, at: int, size: int) -> int:
    return int.from_bytes(stored[at : at + size], "big")


def _little(stored: bytes, at: int, size: int) -> int:
    return int.from_bytes(stored[at : at + size], "little")


def _jpeg(stored: bytes) -> Shape | None:
    """Follow the markers to that of the frame (ITU T.81, annex B)."""
    at = len(JPEG)
    while at + 9 <= len(stored):
        if stored[at] != 0xFF:
            at += 1  # decoders look for the next marker, too
            continue
        marker = stored[at + 1]
        if (0xC0 <= marker <= 0xCF and marker not in NO_FRAME) or marker == LS_FRAME:
            return _big(stored, at + 5, 2), _big(stored, at + 7, 2)
        if marker in {0x00, 0xFF}:
            at += 1
        elif marker in NO_LENGTH:
            at += 2
        else:
            at += 2 + _big(stored, at + 2, 2)
    return None


def _png(stored: bytes) -> Shape | None:
    """Read the chunk IHDR, which is the first."""
    return (_big(stored, 20, 4), _big(stored, 16, 4)) if len(stored) >= 24 else None


def _jpeg2000(stored: bytes) -> Shape | None:
    """Read the segment SIZ (ITU T.800, A.5.1), the first of a code stream."""
    at = stored.find(JPEG2000)
    if at < 0 or len(stored) < at + 42:
        return None
    n_components = _big(stored, at + 40, 2)
    if n_components > MAX_COMPONENTS:
        message = f"it declares {n_components} channels"
        raise ValueError(message)
    width = _big(stored, at + 8, 4) - _big(stored, at + 16, 4)
    height = _big(stored, at + 12, 4) - _big(stored, at + 20, 4)
    return max(height, 0), max(width, 0)


def _webp(stored: bytes) -> Shape | None:
    """Read the first chunk, of one of three kinds (RFC 9649)."""
    kind = stored[12:16] if stored[8:12] == b"WEBP" else b""
    if kind == b"VP8X":
        return 1 + _little(stored, 27, 3), 1 + _little(stored, 24, 3)
    if kind == b"VP8L":
        bits = _little(stored, 21, 4)
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        return _little(stored, 28, 2) & 0x3FFF, _little(stored, 26, 2) & 0x3FFF
    return None


def _jpegxl(stored: bytes) -> Shape | None:
    """Read the size header (ISO/IEC 18181-1, D.2), bits from the lowest."""
    at = 0
    if stored.startswith(JPEGXL_BOXES):
        box = stored.find(b"jxlc")
        at = box + 4 if box >= 0 else -1
    if at < 0 or stored[at : at + 2] != JPEGXL:
        return None
    bits = _Bits(_little(stored, at + 2, 16))
    is_small = bits.take(1)
    height = _jpegxl_side(bits, is_small=bool(is_small))
    ratio = bits.take(3)
    if ratio:
        across, down = JPEGXL_RATIOS[ratio - 1]
        return height, height * across // down
    return height, _jpegxl_side(bits, is_small=bool(is_small))


def _jpegxl_side(bits: _Bits, *, is_small: bool) -> int:
    if is_small:
        return 8 * (1 + bits.take(5))
    return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])


class _Bits:
    """Bits of a number, the lowest first."""

    __slots__ = ("left",)

    def __init__(self, number: int) -> None:
        self.left = number

    def take(self, n_bits: int) -> int:
        taken = self.left & ((1 << n_bits) - 1)
        self.left >>= n_bits
        return taken


READING: tuple[tuple[bytes, Callable[[bytes], Shape | None]], ...] = (
    (JPEG2000, _jpeg2000),
    (JP2, _jpeg2000),
    (JPEGXL, _jpegxl),
    (JPEGXL_BOXES, _jpegxl),
    (JPEG, _jpeg),
    (PNG, _png),
    (b"RIFF", _webp),
)
"""How each kind of picture begins, and what reads its size."""


# Bytes that are compressed as bytes

ZSTD, GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"


def refuse_inflating(stored: bytes, codec: str, most_bytes: int) -> None:
    """Refuse compressed bytes that unpack to more than ``most_bytes``.

    Parameters
    ----------
    stored
        What was written.
    codec
        ``zstd``, ``blosc``, ``gzip`` or ``zlib``; nothing is known of others.
    most_bytes
        What may come out.

    Raises
    ------
    ValueError
        If more is declared, or comes out of a codec that declares nothing.
    """
    if codec == "zstd":
        n_bytes = _zstd_bytes(stored)
        if n_bytes is None:  # written as a stream
            n_bytes = len(imagecodecs.zstd_decode(stored, out=most_bytes))
    elif codec == "blosc":
        n_bytes = _little(stored, 4, 4)
    elif codec in {"gzip", "zlib"}:
        n_bytes = _inflated_bytes(stored, most_bytes)
    else:
        return
    if n_bytes > most_bytes:
        message = f"it unpacks to {n_bytes} bytes or more; {most_bytes} are the most"
        raise ValueError(message)


def _zstd_bytes(stored: bytes) -> int | None:
    """Read the content size of a frame (RFC 8878, 3.1.1), if it is stated."""
    if not stored.startswith(ZSTD) or len(stored) < 6:
        return 0  # no frame: the decoder refuses it
    descriptor = stored[4]
    is_single = bool(descriptor & 0x20)
    size = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
    if not size:
        return None
    at = 5 + (not is_single) + (0, 1, 2, 4)[descriptor & 3]
    return _little(stored, at, size) + (256 if size == 2 else 0)


def _inflated_bytes(stored: bytes, most_bytes: int) -> int:
    """Inflate step by step and keep nothing, until there is too much."""
    inflating = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    n_bytes, left = 0, stored
    while left and n_bytes <= most_bytes and not inflating.eof:
        n_bytes += len(inflating.decompress(left, INFLATED_STEP))
        left = inflating.unconsumed_tail
    return n_bytes
