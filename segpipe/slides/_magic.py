"""The first bytes of a file, by which readers claim it."""

from __future__ import annotations

from pathlib import Path


def first_bytes(path: Path, n_bytes: int, *, offset: int = 0) -> bytes:
    """Return up to ``n_bytes`` of a file from ``offset``; nothing of a folder.

    Raises
    ------
    OSError
        If the file can't be read.
    """
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(n_bytes)
