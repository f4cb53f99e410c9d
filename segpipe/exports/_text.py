"""Text files that are there whole or not at all, compressed if their name says so."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from segpipe.stores.durable import replacing


@contextmanager
def writing_text(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing; gzip without a time stamp if it ends in ``.gz``."""
    with replacing(path) as temporary, temporary.open("wb") as raw:
        if path.suffix != ".gz":
            with io.TextIOWrapper(raw, "utf-8", newline="\n") as text:
                yield text
            return
        with (
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, "utf-8", newline="\n") as text,
        ):
            yield text
