"""Find the reader of a file and open it; every way that can fail is said in words.

The readers are the modules of this package, so adding a format is adding a file. Who
opens a file is judged by its content; the judged reader's refusal is final and no other
is tried, because a damaged slide must not be mistaken for a picture of another kind.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from segpipe.errors import (
    SettingsError,
    SlideCorrupt,
    SlideNotFound,
    SlideNotReadable,
    SlideUnsupported,
)
from segpipe.plugins import public_modules
from segpipe.slides._magic import first_bytes
from segpipe.slides._protocol import Reader, Slide
from segpipe.slides._translation import not_readable, translated

PACKAGE = "segpipe.slides"
SHOWN_BYTES = 8
"""Bytes of an unknown file that the message shows."""


@cache
def readers() -> tuple[Reader, ...]:
    """Return every reader, the first to ask first."""
    modules = public_modules(PACKAGE).values()
    found: list[Reader] = [module.READER for module in modules]
    return tuple(sorted(found, key=lambda reader: (reader.priority, reader.name)))


def open_slide(path: str | os.PathLike[str], *, reader: str | None = None) -> Slide:
    """Open a slide.

    Parameters
    ----------
    path
        A file, or the folder of a DICOM slide or an OME-Zarr.
    reader
        Name of the reader to use, whatever the file looks like.

    Returns
    -------
    Slide
        Usable from one thread; close it or use it in a ``with`` statement.

    Raises
    ------
    SlideNotFound, SlideNotReadable
        If there is no such file or it may not be read.
    SlideCorrupt
        If it is empty, damaged or cut off.
    SlideUnsupported
        If no reader knows it, or it isn't H&E in 8-bit RGB.
    SlideTooLarge
        If it declares more pixels than any slide has.
    SettingsError
        If there is no reader of that name.
    """
    where = Path(path)
    refuse_unreadable(where)
    chosen = reader_of(where) if reader is None else _named(reader)
    return chosen.open(where)


def reader_of(path: str | os.PathLike[str]) -> Reader:
    """Return the reader that takes a file or folder, by its content.

    Raises
    ------
    SlideError
        As :func:`open_slide`, but nothing is decoded.
    """
    where = Path(path)
    refuse_unreadable(where)
    with translated(where, "read its first bytes"):
        claiming = [reader for reader in readers() if reader.claims(where)]
    if claiming:
        return claiming[0]
    if where.is_dir():
        raise SlideUnsupported(_unknown_folder(where))
    if where.suffix.lower() in _suffixes(readers()):
        raise SlideCorrupt(_misnamed_file(where))
    raise SlideUnsupported(_unknown_file(where))


def _named(name: str) -> Reader:
    by_name = {reader.name: reader for reader in readers()}
    if name not in by_name:
        message = f"There is no reader {name!r}; there are {', '.join(by_name)}."
        raise SettingsError(message)
    return by_name[name]


def refuse_unreadable(path: Path) -> None:
    """Refuse what can't be read at all: missing, forbidden, empty."""
    with translated(path, "look at it"):
        if not path.exists():
            raise SlideNotFound(_missing(path))
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise SlideNotReadable(not_readable(path))
        if path.is_file() and path.stat().st_size == 0:
            message = f"{path} is empty (0 bytes): a copy that failed? Copy it again."
            raise SlideCorrupt(message)


def _missing(path: Path) -> str:
    if path.is_symlink():
        return f"{path} points to {path.readlink()}, which isn't there. Mend the link."
    parent = path.parent
    place = f"in {parent}" if parent.is_dir() else f"and no folder {parent}"
    return f"There is no file or folder {path.name} {place}. Check the path."


def _suffixes(known: Iterable[Reader]) -> tuple[str, ...]:
    return tuple(suffix for reader in known for suffix in reader.suffixes)


def _formats() -> str:
    return "; ".join(f"{r.name}: {', '.join(r.formats)}" for r in readers())


def _unknown_folder(path: Path) -> str:
    n_entries = len(list(path.iterdir()))
    return (
        f"{path} is a folder of {n_entries} entries, but no slide: looked in it for "
        "DICOM files (.dcm) and for OME-Zarr metadata (zarr.json or .zattrs). "
        "Give a slide file, or the folder of one DICOM or OME-Zarr slide."
    )


def _misnamed_file(path: Path) -> str:
    start = first_bytes(path, SHOWN_BYTES)
    return (
        f"{path} is named {path.suffix}, but no reader recognises it: it starts with "
        f"{start!r}. It is damaged, an unknown variant, or something else under that "
        "name. Copy it again, or export it as a pyramidal TIFF."
    )


def _unknown_file(path: Path) -> str:
    start = first_bytes(path, SHOWN_BYTES)
    return (
        f"{path} is no slide that segpipe knows: it starts with {start!r}. "
        f"Looked for {_formats()}. Export it as a pyramidal TIFF."
    )
