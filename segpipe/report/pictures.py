"""Pictures as bytes and files."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from segpipe.arrays import RGB
from segpipe.stores.durable import replacing

_JPEG_QUALITY = 90


def to_png(rgb: RGB) -> bytes:
    """Encode without loss."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def to_jpeg(rgb: RGB) -> bytes:
    """Encode with full colour resolution, so that thin outlines keep their colour."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def write_png(path: Path, rgb: RGB) -> None:
    """Write a PNG file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(to_png(rgb))


def data_uri(rgb: RGB) -> str:
    """Return a picture as text for the ``src`` of an HTML image."""
    return "data:image/jpeg;base64," + base64.b64encode(to_jpeg(rgb)).decode()
