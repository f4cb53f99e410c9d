"""The slides in a folder, by name: files by suffix, DICOM and zarr folders as one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from segpipe.errors import SlideNotFound
from segpipe.slides import dicom, omezarr
from segpipe.slides._opening import readers
from segpipe.slides._translation import translated

COMPANION_OWNERS = (".mrxs", ".vms", ".vmu")
"""Files whose pixels lie in others beside them: in a folder of the same stem (MRXS), or
in JPEGs of the same folder (VMS, VMU)."""
COMPANION_PICTURES = (".jpg", ".jpeg")


def find_slides(folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Return the slides in a folder and below it, sorted by path.

    Files are taken by the suffixes of the readers and are not opened. A folder with
    DICOM files directly in it is one slide, as is a zarr folder; nothing inside them is
    looked at, nor in the companion folder of an MRXS. Hidden entries are skipped.

    Parameters
    ----------
    folder
        A folder; one that is itself a slide is returned alone.

    Raises
    ------
    SlideNotFound
        If there is no such folder.
    SlideNotReadable
        If a folder may not be read.
    """
    top = Path(folder)
    if not top.is_dir():
        message = f"There is no folder {top} to look for slides in. Check the path."
        raise SlideNotFound(message)
    suffixes = frozenset(suffix for reader in readers() for suffix in reader.suffixes)
    return tuple(sorted(_slides_below(top, suffixes)))


def _slides_below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    with translated(folder, "list it"):
        if dicom.claims(folder) or omezarr.claims(folder):
            yield folder
            return
        entries = [e for e in sorted(folder.iterdir()) if not e.name.startswith(".")]
    files = [entry for entry in entries if entry.is_file()]
    owners = [file for file in files if file.suffix.lower() in COMPANION_OWNERS]
    yield from _slide_files(files, owners, suffixes)
    companions = {owner.with_suffix("") for owner in owners}
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink() and entry not in companions:
            yield from _slides_below(entry, suffixes)


def _slide_files(
    files: Iterable[Path], owners: Iterable[Path], suffixes: frozenset[str]
) -> Iterator[Path]:
    has_pictures = any(owner.suffix.lower() != ".mrxs" for owner in owners)
    not_slides = COMPANION_PICTURES if has_pictures else ()
    for file in files:
        suffix = file.suffix.lower()
        if suffix in suffixes and suffix not in not_slides:
            yield file
