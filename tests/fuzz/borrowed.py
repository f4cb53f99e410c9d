"""The sample slides of the readers' tests, which lie in another folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "slides"))

from slide_samples import (
    MPP,
    SAMPLES,
    TILE_PX,
    describe_zarr,
    pixels,
    pyramid,
    write_dicom_level,
    write_omezarr,
    write_trestle,
)

__all__ = [
    "MPP",
    "SAMPLES",
    "TILE_PX",
    "describe_zarr",
    "pixels",
    "pyramid",
    "write_dicom_level",
    "write_omezarr",
    "write_trestle",
]
