"""DICOM whole-slide folders (VL Whole Slide Microscopy), by wsidicom."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from wsidicom import WsiDicom
from wsidicom.config import Settings

from segpipe.arrays import RGB
from segpipe.errors import SlideCorrupt
from segpipe.geometry import Box
from segpipe.slides._declared import refuse_more_than
from segpipe.slides._dicom_files import (
    LevelFile,
    dicom_files,
    is_dicom,
    level_files,
)
from segpipe.slides._protocol import Reader, Slide
from segpipe.slides._pyramid import Fetch, PyramidSlide, levels_of
from segpipe.slides._resolution import judged
from segpipe.slides._translation import translated

logging.getLogger("wsidicom").addHandler(logging.NullHandler())
"""What wsidicom finds odd is judged here; it need not also print it."""

SETTINGS = Settings(
    strict_tile_size_check=False,  # levels may be tiled differently
    level_scale_tolerance=0.3,  # spacings are rounded; shapes decide the downsample
    decoded_frame_cache_size=0,  # a reader doesn't cache
    encoded_frame_cache_size=0,
)


def claims(path: Path) -> bool:
    """Whether this is a DICOM file, or a folder with DICOM files directly in it."""
    if path.is_dir():
        return bool(dicom_files(path))
    return is_dicom(path)


def open_dicom(path: Path) -> Slide:
    """Open the DICOM slide in a folder, or the one that a file belongs to.

    Raises
    ------
    SlideUnsupported
        If there is no whole-slide picture, several, or one that isn't 8-bit RGB.
    SlideCorrupt
        If a file of the slide is damaged or cut off.
    """
    files = level_files(path)
    with translated(path, "open it as a DICOM slide"):
        source = WsiDicom.open([file.path for file in files], settings=SETTINGS)
    try:
        return _slide(path, source, files)
    except BaseException:
        source.close()
        raise


def _slide(path: Path, source: WsiDicom, files: Sequence[LevelFile]) -> Slide:
    with translated(path, "read its levels"):
        levels = sorted(source.levels, key=lambda level: level.level)
        shapes = [(level.size.height, level.size.width) for level in levels]
        resolution = judged(source.mpp.height, source.mpp.width)
    _refuse_lost_levels(path, shapes, files)
    if any(file.is_picture for file in files):
        _guard(source)
    slide = PyramidSlide(
        path=path,
        levels=levels_of(path, shapes),
        mpp=resolution.mpp,
        properties={**files[0].properties, **resolution.properties()},
        fetch=_fetch(source, [level.level for level in levels]),
        release=source.close,
    )
    _probe(slide)
    return slide


@dataclass(frozen=True, slots=True, kw_only=True)
class _GuardedDecoder:
    """A decoder that is shown no frame that declares more pixels than a tile has."""

    decoder: Any
    shape: tuple[int, int]

    def decode(self, frame: bytes) -> NDArray[np.uint8]:
        """Decode a frame.

        Raises
        ------
        ValueError
            If it declares more pixels than a tile has.
        """
        refuse_more_than(self.shape, frame)
        pixels: NDArray[np.uint8] = self.decoder.decode(frame)
        return pixels


def _guard(source: WsiDicom) -> None:
    """Put a guard before each decoder; wsidicom has no setting for it."""
    for level in source.levels:
        for instance in level.instances.values():
            pixels = instance.image_data
            shape = (pixels.tile_size.height, pixels.tile_size.width)
            pixels._decoder = _GuardedDecoder(  # noqa: SLF001 - see above
                decoder=pixels.decoder, shape=shape
            )


def _refuse_lost_levels(
    path: Path, shapes: Sequence[tuple[int, int]], files: Sequence[LevelFile]
) -> None:
    """Refuse what wsidicom opened only in part."""
    declared = {file.shape for file in files}
    if declared != set(shapes):
        message = (
            f"{path} declares levels of {sorted(declared, reverse=True)} pixels, but "
            f"only {list(shapes)} can be read together. Copy or export it again."
        )
        raise SlideCorrupt(message)


def _fetch(source: WsiDicom, indices: list[int]) -> Fetch:
    def fetch(box: Box, level: int) -> RGB:
        corner, size = (box.x0, box.y0), (box.width, box.height)
        pixels: RGB = source.read_region(corner, indices[level], size, as_array=True)
        return pixels

    return fetch


def _probe(slide: PyramidSlide) -> None:
    """Decode the first and the last pixel, so that an unreadable slide isn't opened."""
    for level, (height, width) in enumerate(lv.shape for lv in slide.levels):
        slide.read(Box(0, 0, 1, 1), level)
        slide.read(Box(height - 1, width - 1, height, width), level)


READER = Reader(
    name="dicom",
    formats=("DICOM whole-slide folder", "one .dcm file of it"),
    suffixes=(".dcm",),
    priority=10,
    claims=claims,
    open=open_dicom,
)
