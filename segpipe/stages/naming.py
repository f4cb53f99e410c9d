"""What a slide is called in every output: its file's name, made safe."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from segpipe.config import SlideRef

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
LONGEST = 120
"""Characters of an id that comes from a file name."""


def slide_id_of(path: Path) -> str:
    """Return the id of a slide: the stem of its name, unsafe characters as ``_``.

    It starts with a letter or digit and can't leave the output folder.
    """
    stem = path.name if path.is_dir() and path.suffix != ".zarr" else path.stem
    safe = _UNSAFE.sub("_", stem).lstrip("._-")[:LONGEST]
    return safe or "slide"


def is_slide_id(name: str) -> bool:
    """Whether a name read from a file is a slide's id, safe in paths."""
    try:
        SlideRef(id=name, path=Path())
    except ValidationError:
        return False
    return True
