"""The slides in a folder, by name: files by suffix, DICOM and zarr folders as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from segpipe.errors import SlideNotFound
from segpipe.slides import dicom, image, omezarr
from segpipe.slides._opening import readers, refuse_unreadable

FLAT = frozenset(image.READER.suffixes)
"""Beside a slide of several files these are its thumbnails or its pixels."""
JPEG_OWNERS = frozenset({".vms", ".vmu"})
"""Hamamatsu files whose pixels lie in JPEGs of the same folder."""

RESULTS_MARK = Path("ledger", "run.json")
"""A folder with this file holds the results of a run, whose stores are no slides."""


def find_slides(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Return the slides in a folder and below it, sorted by path.

    Files are taken by the suffixes of the readers and are not opened. The DICOM files
    directly in a folder are one slide, named by the folder; so is a zarr folder, in
    which nothing is looked at, nor in the folder that belongs to an MRXS, nor in the
    results of an earlier run. Hidden entries are skipped. A folder below that may not
    be read is returned as if it were a slide: opening it gives the reason, and the
    other slides are found all the same.

    Parameters
    ----------
    folder
        A folder; one that is itself a slide is returned alone.

    Raises
    ------
    SlideNotFound
        If there is no such folder.
    SlideNotReadable
        If the folder may not be read.
    """
    top = Path(folder)
    refuse_unreadable(top)
    if not top.is_dir():
        message = f"{top} is a file, not a folder to look for slides in."
        raise SlideNotFound(message)
    suffixes = frozenset(suffix for reader in readers() for suffix in reader.suffixes)
    return tuple(sorted(_slides_below(top, suffixes)))


def _slides_below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    try:
        if (folder / RESULTS_MARK).is_file():
            return
        is_zarr, is_dicom = omezarr.claims(folder), dicom.claims(folder)
        entries = [e for e in sorted(folder.iterdir()) if not e.name.startswith(".")]
    except PermissionError:
        yield folder
        return
    if is_zarr or is_dicom:
        yield folder
    if is_zarr:
        return
    files = [entry for entry in entries if entry.is_file()]
    kinds = {file.suffix.lower() for file in files}
    owned = FLAT if is_dicom or kinds & JPEG_OWNERS else frozenset()
    wanted = suffixes - owned - frozenset(dicom.READER.suffixes if is_dicom else ())
    yield from (file for file in files if file.suffix.lower() in wanted)
    companions = {f.with_suffix("") for f in files if f.suffix.lower() == ".mrxs"}
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink() and entry not in companions:
            yield from _slides_below(entry, suffixes)
