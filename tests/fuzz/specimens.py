"""Sound slides of every format, as bytes, so small that thousands can be mutated."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from borrowed import (
    MPP,
    SAMPLES,
    TILE_PX,
    pyramid,
    write_omezarr,
    write_trestle,
)
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "cmu-1-small-region.svs"
APERIO = "Aperio Image Library v11.2.1\r\n412x300|AppMag = 40|MPP = 0.25|Date = 1/1/26"
OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"
><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8"
 SizeX="412" SizeY="300" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.25"
 PhysicalSizeY="0.25"><Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData/>
</Pixels></Image></OME>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A slide as the bytes of its files."""

    kind: str
    """``tiff``, ``dicom``, ``zarr``, ``jpeg``, ``png``: how it is taken apart."""
    entry: str
    """What is opened: a file, or the folder of the files."""
    files: Mapping[str, bytes]
    """Content by path, relative to the folder of the slide."""

    def write(self, folder: Path) -> Path:
        """Write the files and return what to open."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder / self.entry


def specimens(folder: Path) -> dict[str, Specimen]:
    """Write every specimen into an empty folder, and return them by name."""
    made: dict[str, Specimen] = {}
    for name, (kind, write) in SPECIMENS.items():
        place = folder / name
        place.mkdir()
        entry = write(place)
        files = {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in sorted(place.rglob("*"))
            if path.is_file()
        }
        made[name] = Specimen(kind=kind, entry=entry.name, files=files)
    return made


def _sample(name: str) -> Callable[[Path], Path]:
    return lambda folder: SAMPLES[name](folder).path


def _tiff(**options: object) -> Callable[[Path], Path]:
    """Return a writer of a pyramid in one dialect of TIFF."""
    bigtiff = bool(options.pop("bigtiff", False))
    byteorder = str(options.pop("byteorder", "<"))
    description = str(options.pop("description", ""))
    is_tiled = bool(options.pop("is_tiled", True))

    def write(folder: Path) -> Path:
        path = folder / "slide.tif"
        with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as file:
            for level, pixels in enumerate(pyramid(2)):
                per_cm = 10_000 / MPP / 2**level
                file.write(
                    pixels,
                    **({"tile": (TILE_PX, TILE_PX)} if is_tiled else {}),
                    photometric="rgb",
                    description=description if level == 0 else None,
                    subfiletype=int(level > 0),
                    resolution=(per_cm, per_cm),
                    resolutionunit="CENTIMETER",
                    metadata=None,
                    **options,
                )
        return path

    return write


def _ome_tiff(folder: Path) -> Path:
    """Write a pyramid whose smaller level lies below the first, as a SubIFD."""
    path = folder / "slide.ome.tif"
    full, half = pyramid(2)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        common = {
            "tile": (TILE_PX, TILE_PX),
            "compression": "jpeg",
            "photometric": "rgb",
            "metadata": None,
        }
        file.write(full, subifds=1, description=OME, **common)
        file.write(half, subfiletype=1, **common)
    return path


def _aperio(folder: Path) -> Path:
    """Write what looks like a slide of Aperio's."""
    return _tiff(compression="jpeg", description=APERIO)(folder)


def _picture(suffix: str, **options: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path, file = folder / f"slide{suffix}", io.BytesIO()
        dpi = 25_400 / MPP
        picture = Image.fromarray(pyramid(1)[0])
        picture.save(file, **{"dpi": (dpi, dpi), **options})
        path.write_bytes(file.getvalue())
        return path

    return write


def _transparent_png(folder: Path) -> Path:
    path, dpi = folder / "slide.png", 25_400 / MPP
    rgba = np.dstack([pyramid(1)[0], np.full((300, 412), 250, np.uint8)])
    Image.fromarray(rgba).save(path, dpi=(dpi, dpi))
    return path


def _npy(folder: Path) -> Path:
    np.save(folder / "slide.npy", pyramid(1)[0])
    return folder / "slide.npy"


def _zarr2(folder: Path) -> Path:
    return write_omezarr(folder, zarr_format=2).path


def _trestle(folder: Path) -> Path:
    return write_trestle(folder).path


def _example(folder: Path) -> Path:
    path = folder / EXAMPLE.name
    path.write_bytes(EXAMPLE.read_bytes())
    return path


SPECIMENS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "tiff-deflate": ("tiff", _sample("tiff")),
    "tiff-raw-big": ("tiff", _tiff(bigtiff=True)),
    "tiff-lzw-motorola": ("tiff", _tiff(byteorder=">", compression="lzw")),
    "tiff-jpeg": ("tiff", _tiff(compression="jpeg", bigtiff=True)),
    "tiff-jpeg2000": ("tiff", _tiff(compression="jpeg2000")),
    "tiff-webp": ("tiff", _tiff(compression="webp")),
    "tiff-zstd": ("tiff", _tiff(compression="zstd")),
    "tiff-strips": ("tiff", _tiff(is_tiled=False, compression="deflate")),
    "aperio": ("tiff", _aperio),
    "aperio-example": ("tiff", _example),
    "ome-tiff": ("tiff", _ome_tiff),
    "philips": ("tiff", _sample("openslide")),
    "trestle": ("tiff", _trestle),
    "dicom": ("dicom", _sample("dicom")),
    "zarr-3": ("zarr", _sample("omezarr")),
    "zarr-2": ("zarr", _zarr2),
    "png": ("png", _sample("image")),
    "png-alpha": ("png", _transparent_png),
    "jpeg": ("jpeg", _picture(".jpg", format="JPEG")),
    "jpeg-progressive": ("jpeg", _picture(".jpg", format="JPEG", progressive=True)),
    "bmp": ("bytes", _picture(".bmp", format="BMP")),
    "npy": ("bytes", _npy),
}
"""By name: how it is taken apart, and what writes it into a folder."""
