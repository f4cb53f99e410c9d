"""Which files of a folder are one DICOM slide, and whether they are whole and RGB.

wsidicom skips a file that it can't read and goes on with the rest; a slide that lost a
level, or half of one, must be refused instead. So the headers are judged here first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage

from segpipe.errors import SlideCorrupt, SlideUnsupported
from segpipe.slides._magic import first_bytes
from segpipe.slides._translation import translated

MAGIC, MAGIC_OFFSET = b"DICM", 128
DICOM_SUFFIXES = ("", ".dcm", ".dicom")
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""Sequence delimitation item, which ends compressed pixels (DICOM PS3.5, A.4)."""
TAIL_BYTES = 2**16
"""Where the end of the pixels is looked for: little may follow them."""


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's preamble."""
    return first_bytes(path, 4, offset=MAGIC_OFFSET) == MAGIC


def dicom_files(folder: Path) -> tuple[Path, ...]:
    """Return the DICOM files that lie directly in a folder, by name."""
    candidates = sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in DICOM_SUFFIXES and not p.name.startswith(".")
    )
    return tuple(p for p in candidates if p.name != "DICOMDIR" and is_dicom(p))


def slide_files(path: Path) -> tuple[tuple[Path, Dataset], ...]:
    """Return the files of the one slide at ``path`` that hold its levels.

    Parameters
    ----------
    path
        A folder with one slide, or any one file of a slide in its folder.

    Returns
    -------
    tuple of (path, header)
        Headers without pixels.

    Raises
    ------
    SlideUnsupported
        If there is no whole-slide picture, there are several, or it isn't 8-bit RGB.
    SlideCorrupt
        If a file is damaged or cut off.
    """
    folder = path if path.is_dir() else path.parent
    headers = [(file, _header(file)) for file in dicom_files(folder)]
    volumes = [(file, header) for file, header in headers if _is_volume(header)]
    if path.is_file():
        wanted = _header(path).get("SeriesInstanceUID")
        volumes = [v for v in volumes if v[1].get("SeriesInstanceUID") == wanted]
    _refuse_none_or_several(path, len(headers), [header for _, header in volumes])
    for file, header in volumes:
        _refuse_other_than_rgb(file, header)
        _refuse_cut(file, header)
    return tuple(volumes)


def _header(file: Path) -> Dataset:
    with warnings.catch_warnings(), translated(file, "read its DICOM header"):
        warnings.simplefilter("ignore", UserWarning)
        return pydicom.dcmread(file, stop_before_pixels=True)


def _is_volume(header: Dataset) -> bool:
    kind = [str(word) for word in header.get("ImageType", [])]
    return (
        header.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage
        and "VOLUME" in kind
    )


def _refuse_none_or_several(
    path: Path, n_files: int, volumes: Sequence[Dataset]
) -> None:
    n_series = len({header.get("SeriesInstanceUID") for header in volumes})
    if n_series == 1:
        return
    if n_series == 0:
        message = (
            f"{path} holds {n_files} DICOM file(s), but none is the scan of a slide "
            "(VL Whole Slide Microscopy, image type VOLUME). Give the slide's folder."
        )
        raise SlideUnsupported(message)
    message = (
        f"{path} holds {n_series} DICOM slides (series). Give one .dcm file of the "
        "slide you mean, or put each slide in a folder of its own."
    )
    raise SlideUnsupported(message)


def _refuse_other_than_rgb(file: Path, header: Dataset) -> None:
    n_samples, n_bits = header.get("SamplesPerPixel"), header.get("BitsAllocated")
    if (n_samples, n_bits) == (3, 8):
        return
    message = (
        f"{file} has {n_samples} channel(s) of {n_bits} bit, "
        f"{header.get('PhotometricInterpretation')}: that looks like fluorescence, "
        "not H&E. segpipe reads brightfield RGB of 8 bit."
    )
    raise SlideUnsupported(message)


def _refuse_cut(file: Path, header: Dataset) -> None:
    size = file.stat().st_size
    if _is_compressed(header):
        tail = first_bytes(file, TAIL_BYTES, offset=max(0, size - TAIL_BYTES))
        is_whole = SEQUENCE_END in tail
        found = f"{size} bytes without the mark that ends compressed pixels"
    else:
        needed = _pixel_bytes(header)
        is_whole = size >= needed
        found = f"{size} bytes, but its pixels alone are {needed}"
    if not is_whole:
        message = f"{file} is cut off: it has {found}. Copy it again."
        raise SlideCorrupt(message)


def _is_compressed(header: Dataset) -> bool:
    return bool(UID(header.file_meta.TransferSyntaxUID).is_encapsulated)


def _pixel_bytes(header: Dataset) -> int:
    sides = (header.get("NumberOfFrames", 1), header.Rows, header.Columns, 3)
    return math.prod(int(side) for side in sides)
