"""Detections as bytes and back: one small record per window, checked by its sum.

::

    "segpdet1"  n  n_bits  crc32      8 + 4 + 8 + 4 bytes
    boxes int32 (n, 4) · scores uint8 (n,) · types uint8 (n,) · bits uint8 (n_bits,)

All little-endian; equal detections give equal bytes.
"""

from __future__ import annotations

import struct
from zlib import crc32

import numpy as np

from segpipe.errors import ShapeMismatch, StoreDamaged
from segpipe.labels.detections import Detections

_HEADER = struct.Struct("<8sIQI")
_MAGIC = b"segpdet1"


def to_bytes(detections: Detections) -> bytes:
    """Return detections as bytes: about 18 a nucleus and one per 8 pixels of its box.

    Raises
    ------
    ShapeMismatch
        If a box lies beyond 2³¹ pixels.
    """
    boxes = detections.boxes.astype("<i4")
    if not np.array_equal(boxes, detections.boxes):
        message = f"A box reaches {np.abs(detections.boxes).max()} px, beyond 2**31."
        raise ShapeMismatch(message)
    columns = (boxes, detections.scores, detections.types, detections.bits)
    body = b"".join(column.tobytes() for column in columns)
    counts = (len(detections), len(detections.bits))
    return _HEADER.pack(_MAGIC, *counts, crc32(body)) + body


def from_bytes(stored: bytes) -> Detections:
    """Return what ``to_bytes`` was given.

    Raises
    ------
    StoreDamaged
        If the bytes are no such record, cut short, or changed.
    """
    try:
        magic, n, n_bits, checksum = _HEADER.unpack_from(stored)
        body = memoryview(stored)[_HEADER.size :]
        if magic != _MAGIC or len(body) != 18 * n + n_bits or crc32(body) != checksum:
            message = (
                f"A record of detections is damaged: {len(stored)} bytes found, "
                f"{_HEADER.size + 18 * n + n_bits} written, or their sum is wrong."
            )
            raise StoreDamaged(message)
        parts = np.split(np.frombuffer(body, np.uint8), np.cumsum([16 * n, n, n]))
        return Detections(
            boxes=parts[0].view("<i4").reshape(n, 4).astype(np.int64),
            scores=parts[1].copy(),
            types=parts[2].copy(),
            bits=parts[3].copy(),
        )
    except (struct.error, ShapeMismatch) as error:
        message = f"A record of {len(stored)} bytes is no record of detections: {error}"
        raise StoreDamaged(message) from error
