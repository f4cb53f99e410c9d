"""Which files of a folder are one DICOM slide, and whether they are whole and RGB.

wsidicom skips a file that it can't read and goes on with the rest; a slide that lost a
level, or half of one, must be refused instead. So the headers are judged here first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    VLWholeSlideMicroscopyImageStorage,
)

from segpipe.errors import SlideCorrupt, SlideUnsupported
from segpipe.slides._magic import first_bytes
from segpipe.slides._pyramid import (
    refuse_huge_pieces,
    refuse_insane,
    refuse_many_pieces,
)
from segpipe.slides._translation import translated

MAGIC, MAGIC_OFFSET = b"DICM", 128
DICOM_SUFFIXES = ("", ".dcm", ".dicom")
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""Sequence delimitation item, which ends compressed pixels (DICOM PS3.5, A.4)."""
TAIL_BYTES = 2**16
"""Where the end of the pixels is looked for: little may follow them."""
MAX_FRAME_PIXELS = 2**25
"""A frame may be JPEG 2000, whose decoder takes 21 bytes a pixel."""
NEEDED = (
    "SamplesPerPixel",
    "BitsAllocated",
    "Rows",
    "Columns",
    "TotalPixelMatrixRows",
    "TotalPixelMatrixColumns",
)
"""Attributes that the picture of a level can't be read without."""
SHOWN = {
    "vendor": "Manufacturer",
    "scanner": "ManufacturerModelName",
    "scan date": "AcquisitionDateTime",
    "colours": "PhotometricInterpretation",
}
"""Attributes worth showing, by the name of the slide's property."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFile:
    """A DICOM file that holds a level of a slide, or a part of one."""

    path: Path
    series: str
    """UID that all files of a slide share."""
    shape: tuple[int, int]
    """Height and width of the level."""
    tile_shape: tuple[int, int]
    """Height and width of a frame."""
    n_samples: int
    """Channels."""
    n_bits: int
    """Bits of a channel."""
    is_compressed: bool
    """Whether the pixels are JPEG, JPEG 2000 or the like."""
    is_picture: bool
    """Whether each frame declares its own size; one of run lengths doesn't."""
    pixel_bytes: int
    """Size of the pixels if they aren't compressed."""
    properties: Mapping[str, str]
    """Facts worth showing."""


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


def level_files(path: Path) -> tuple[LevelFile, ...]:
    """Return the files of the one slide at ``path`` that hold its levels.

    Parameters
    ----------
    path
        A folder with one slide, or any one file of a slide in its folder.

    Raises
    ------
    SlideUnsupported
        If there is no whole-slide picture, there are several, or it isn't 8-bit RGB.
    SlideCorrupt
        If a file is damaged or cut off.
    SlideTooLarge
        If its tiles are too large to decode.
    """
    with translated(path, "list its DICOM files"):
        folder = path if path.is_dir() else path.parent
        _refuse_beheaded(folder)
        headers = {file: _header(file) for file in dicom_files(folder)}
    found = [_level_file(f, h) for f, h in headers.items() if _is_volume(h)]
    if path.is_file():
        series = str(_header(path).SeriesInstanceUID)
        found = [file for file in found if file.series == series]
    _refuse_none_or_several(path, len(headers), found)
    for file in found:
        _refuse_other_than_rgb(file)
        refuse_insane(file.path, file.shape)
        refuse_huge_pieces(file.path, file.tile_shape, most=MAX_FRAME_PIXELS)
        refuse_many_pieces(file.path, file.shape, file.tile_shape)
        _refuse_cut(file)
    return tuple(found)


def _refuse_beheaded(folder: Path) -> None:
    """Refuse .dcm files that don't begin as DICOM: a level may be lost."""
    named = [p for p in sorted(folder.iterdir()) if p.suffix.lower() == ".dcm"]
    for file in named:
        if not is_dicom(file):
            message = (
                f"{file} doesn't begin as a DICOM file does ({file.stat().st_size} "
                "bytes): it is damaged or cut off. Copy it again, or take it away if "
                "it isn't part of the slide."
            )
            raise SlideCorrupt(message)


def _header(file: Path) -> Dataset:
    """Read everything but the pixels; pydicom's remarks on odd values don't matter."""
    with warnings.catch_warnings(), translated(file, "read its DICOM header"):
        warnings.simplefilter("ignore", UserWarning)
        _refuse_deflated(file)
        header = pydicom.dcmread(file, stop_before_pixels=True)
        header.decode()  # every value now, so that what is damaged shows now
        _refuse_lacking(file, header, ("SOPClassUID", "SeriesInstanceUID"))
        _refuse_lacking(file, header.file_meta, ("TransferSyntaxUID",))
        return header


def _refuse_deflated(file: Path) -> None:
    """Refuse a header that is inflated whole, to no one knows what size."""
    syntax = read_file_meta_info(file).get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        message = (
            f"{file} is deflated as a whole ({syntax}), which no scanner does and "
            "which may hide any number of bytes. Export it as JPEG or uncompressed."
        )
        raise SlideUnsupported(message)


def _refuse_lacking(file: Path, header: Dataset, names: Sequence[str]) -> None:
    lacking = [name for name in names if name not in header]
    if lacking:
        message = (
            f"{file} ({file.stat().st_size} bytes) lacks the DICOM attributes "
            f"{', '.join(lacking)}: it is damaged or cut off. Copy it again."
        )
        raise SlideCorrupt(message)


def _is_volume(header: Dataset) -> bool:
    kind = [str(word) for word in header.get("ImageType", [])]
    is_slide = header.SOPClassUID == VLWholeSlideMicroscopyImageStorage
    return bool(is_slide and "VOLUME" in kind)


def _level_file(file: Path, header: Dataset) -> LevelFile:
    _refuse_lacking(file, header, NEEDED)
    with translated(file, "understand its DICOM header"):
        rows, columns = int(header.Rows), int(header.Columns)
        n_frames, syntax = header.get("NumberOfFrames"), header.file_meta
        stated = {name: str(header.get(key, "")) for name, key in SHOWN.items()}
        return LevelFile(
            path=file,
            series=str(header.SeriesInstanceUID),
            shape=(
                int(header.TotalPixelMatrixRows),
                int(header.TotalPixelMatrixColumns),
            ),
            tile_shape=(rows, columns),
            n_samples=int(header.SamplesPerPixel),
            n_bits=int(header.BitsAllocated),
            is_compressed=bool(syntax.TransferSyntaxUID.is_encapsulated),
            is_picture=bool(syntax.TransferSyntaxUID.is_encapsulated)
            and syntax.TransferSyntaxUID != RLELossless,
            pixel_bytes=int(n_frames or 1) * rows * columns * 3,
            properties={
                "format": "DICOM",
                "compression": str(syntax.TransferSyntaxUID.name),
                "tile": f"{rows} x {columns}",
                **{name: words for name, words in stated.items() if words},
            },
        )


def _refuse_none_or_several(
    path: Path, n_files: int, found: Sequence[LevelFile]
) -> None:
    n_series = len({file.series for file in found})
    if n_series == 0:
        message = (
            f"{path} holds {n_files} DICOM file(s), but none is the scan of a slide "
            "(VL Whole Slide Microscopy, image type VOLUME). Give the slide's folder."
        )
        raise SlideUnsupported(message)
    if n_series > 1:
        message = (
            f"{path} holds {n_series} DICOM slides (series). Give one .dcm file of "
            "the slide you mean, or put each slide in a folder of its own."
        )
        raise SlideUnsupported(message)


def _refuse_other_than_rgb(file: LevelFile) -> None:
    if (file.n_samples, file.n_bits) == (3, 8):
        return
    message = (
        f"{file.path} has {file.n_samples} channel(s) of {file.n_bits} bit, "
        f"{file.properties.get('colours', 'colours unstated')}: that looks like "
        "fluorescence, not H&E. segpipe reads brightfield RGB of 8 bit."
    )
    raise SlideUnsupported(message)


def _refuse_cut(file: LevelFile) -> None:
    size = file.path.stat().st_size
    if file.is_compressed:
        tail = first_bytes(file.path, TAIL_BYTES, offset=max(0, size - TAIL_BYTES))
        is_whole = SEQUENCE_END in tail
        found = f"{size} bytes without the mark that ends compressed pixels"
    else:
        is_whole = size >= file.pixel_bytes
        found = f"{size} bytes, but its pixels alone are {file.pixel_bytes}"
    if not is_whole:
        message = f"{file.path} is cut off: it has {found}. Copy it again."
        raise SlideCorrupt(message)
