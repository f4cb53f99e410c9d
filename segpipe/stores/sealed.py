"""Files that end in a checksum of what they hold, so that damage doesn't pass for data.

Zarr's chunks carry one of their own; this is for the files beside them. A file that is
cut off, has a flipped bit or reads as zeros is refused before anything parses it.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from segpipe.stores.durable import replacing

SEAL_BYTES = 8
"""At the end of a file: the magic, and the CRC-32 of all before it."""
_MAGIC = b"SEAL"
_BLOCK_BYTES = 2**22


def seal(path: Path) -> None:
    """Append the checksum of what a file holds."""
    crc = _crc(path)
    with path.open("ab") as file:
        file.write(_seal_of(crc))


def write_sealed(path: Path, content: bytes) -> None:
    """Write a file that ends in the checksum of its content, durably."""
    with replacing(path) as temporary:
        temporary.write_bytes(content + _seal_of(zlib.crc32(content)))


def read_sealed(path: Path) -> bytes:
    """Return what a sealed file holds, without its seal.

    Raises
    ------
    OSError
        If it can't be read.
    ValueError
        If it isn't what was sealed.
    """
    stored = path.read_bytes()
    content, found = stored[:-SEAL_BYTES], stored[-SEAL_BYTES:]
    _compare(found, _seal_of(zlib.crc32(content)), len(stored))
    return content


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
    return crc


def _seal_of(crc: int) -> bytes:
    return _MAGIC + crc.to_bytes(4, "little")


def _compare(found: bytes, expected: bytes, n_bytes: int) -> None:
    if found != expected:
        message = (
            f"its {n_bytes} bytes are not those that were written: they end in "
            f"{found.hex()}, and their checksum is {expected.hex()}"
        )
        raise ValueError(message)
