"""A cheap fingerprint of a slide's content, so that finished work is recognised."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from segpipe.slides._dicom_files import dicom_files, is_dicom
from segpipe.slides._opening import refuse_unreadable
from segpipe.slides._translation import translated

SAMPLE_BYTES = 2**20
"""Of head, middle and tail each: a gigabyte slide costs three reads."""


def slide_fingerprint(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a slide's size and of the MiB at head, middle and tail.

    A slide of several files (DICOM, zarr, MRXS) counts as one stream of them in the
    order of their names; the names and sizes of all are hashed as well. The folder's
    own name is not, so a slide that is moved or renamed as a whole keeps its
    fingerprint, unless its files name each other.

    Parameters
    ----------
    path
        As for :func:`segpipe.slides.open_slide`; one .dcm file stands for its folder.

    Returns
    -------
    str
        64 hexadecimal digits. Edits that keep every size and touch none of the three
        samples go unnoticed: that is the price of not reading the slide twice.

    Raises
    ------
    SlideNotFound, SlideNotReadable
        If a file is missing or may not be read.
    """
    where = Path(path)
    refuse_unreadable(where)
    with translated(where, "read it for its fingerprint"):
        files = slide_files(where)
        sizes = [file.stat().st_size for file in files]
        digest = hashlib.sha256()
        if len(files) > 1 or where.is_dir():
            for file, size in zip(files, sizes, strict=True):
                name = file.relative_to(_root(where)).as_posix()
                digest.update(f"{name}\0{size}\0".encode())
        digest.update(f"{sum(sizes)}\0".encode())
        for sample in _samples(files, sizes):
            digest.update(sample)
    return digest.hexdigest()


def _root(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def slide_files(path: Path) -> tuple[Path, ...]:
    """Return the files that make the slide, by name."""
    if path.is_dir():
        return tuple(sorted(p for p in path.rglob("*") if p.is_file()))
    if is_dicom(path):
        return dicom_files(path.parent)
    companion = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and companion.is_dir():
        return (path, *slide_files(companion))
    return (path,)


def _samples(files: Sequence[Path], sizes: Sequence[int]) -> Iterator[bytes]:
    """Yield head, middle and tail of the files as one stream."""
    total = sum(sizes)
    for start in (0, (total - SAMPLE_BYTES) // 2, total - SAMPLE_BYTES):
        yield from _span(files, sizes, max(0, start))


def _span(files: Sequence[Path], sizes: Sequence[int], start: int) -> Iterator[bytes]:
    """Yield the ``SAMPLE_BYTES`` of the stream from ``start``."""
    begin = 0
    for file, size in zip(files, sizes, strict=True):
        first = max(start, begin)
        last = min(start + SAMPLE_BYTES, begin + size)
        if first < last:
            with file.open("rb") as stream:
                stream.seek(first - begin)
                yield stream.read(last - first)
        begin += size
