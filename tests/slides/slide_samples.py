"""Small slides of known pixels, one writer per format, for the tests of the readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import zarr
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)

from segpipe.arrays import RGB

TILE_PX = 64
MPP = 0.25
SHAPE = (300, 412)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A slide and what must be read from it."""

    path: Path
    levels: tuple[RGB, ...]
    mpp: float = MPP


def pixels(shape: tuple[int, int] = SHAPE, seed: int = 0) -> RGB:
    """Noise on a slope: no two boxes of it are alike."""
    noise = np.random.default_rng(seed).integers(0, 100, (*shape, 3))
    slope = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 150
    return (noise + slope[..., None]).astype(np.uint8)


def pyramid(n_levels: int = 2) -> tuple[RGB, ...]:
    return tuple(
        np.ascontiguousarray(pixels()[:: 2**i, :: 2**i]) for i in range(n_levels)
    )


def tiles(level: RGB, tile_px: int = TILE_PX) -> Iterator[RGB]:
    for y in range(0, level.shape[0], tile_px):
        for x in range(0, level.shape[1], tile_px):
            tile = np.full((tile_px, tile_px, 3), 255, np.uint8)
            part = level[y : y + tile_px, x : x + tile_px]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def write_tiff(folder: Path) -> Sample:
    levels = pyramid(3)
    path = folder / "sample.tif"
    per_cm = 10_000 / MPP
    with tifffile.TiffWriter(path) as file:
        for i, level in enumerate(levels):
            file.write(
                level,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="deflate",
                predictor=True,
                subfiletype=int(i > 0),
                resolution=(per_cm / 2**i, per_cm / 2**i),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    return Sample(path=path, levels=levels)


PHILIPS_XML = """<?xml version="1.0" encoding="UTF-8" ?>
<DataObject ObjectType="DPUfsImport">
<Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070"
 PMSVR="IString">PHILIPS</Attribute>
<Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003"
 PMSVR="IDataObjectArray"><Array><DataObject ObjectType="DPScannedImage">
<Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004"
 PMSVR="IString">WSI</Attribute>
<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030"
 PMSVR="IDoubleArray">&quot;0.00025&quot; &quot;0.00025&quot;</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001"
 Element="0x8B01" PMSVR="IDataObjectArray"><Array>{}</Array></Attribute>
</DataObject></Array></Attribute></DataObject>"""
PHILIPS_LEVEL_XML = """<DataObject ObjectType="PixelDataRepresentation">
<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030"
 PMSVR="IDoubleArray">&quot;{0}&quot; &quot;{0}&quot;</Attribute>
<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER" Group="0x301D"
 Element="0x1001" PMSVR="IUInt16">{1}</Attribute></DataObject>"""


def write_philips(folder: Path) -> Sample:
    """Write a TIFF that only OpenSlide knows; its first tile has no pixels."""
    levels = tuple(level.copy() for level in pyramid())
    levels[0][:TILE_PX, :TILE_PX] = 255
    spacings = [MPP / 1000 * 2**i for i in range(len(levels))]
    parts = [PHILIPS_LEVEL_XML.format(s, i) for i, s in enumerate(spacings)]
    path = folder / "sample.tiff"
    with tifffile.TiffWriter(path) as file:
        for i, level in enumerate(levels):
            stored = [imagecodecs.zlib_encode(tile.tobytes()) for tile in tiles(level)]
            file.write(
                iter([b"", *stored[1:]] if i == 0 else stored),
                shape=level.shape,
                dtype="uint8",
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="deflate",
                software="Philips DP v1.0",
                description=PHILIPS_XML.format("".join(parts)) if i == 0 else None,
                subfiletype=int(i > 0),
                metadata=None,
            )
    return Sample(path=path, levels=levels)


def write_trestle(folder: Path, shape: tuple[int, int] = (300, 411)) -> Sample:
    """Write a TIFF that only OpenSlide knows, of a downsample that isn't whole."""
    full = pixels(shape)
    levels = (full, np.ascontiguousarray(full[::2, ::2]))
    path = folder / "trestle.tif"
    about = "Background Color=FFFFFF;White Balance=FFFFFF;Objective Power=20;"
    with tifffile.TiffWriter(path) as file:
        for i, level in enumerate(levels):
            file.write(
                level,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="deflate",
                software="MedScan",
                description=about + "JPEG Quality=90;OverlapsXY=0 0 0 0",
                resolution=(MPP, MPP),
                subfiletype=int(i > 0),
                metadata=None,
            )
    return Sample(path=path, levels=levels)


def write_dicom_level(path: Path, level: RGB, mpp: float, series: str) -> None:
    """Write one level as an uncompressed DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID = meta.MediaStorageSOPClassUID
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    header.SeriesInstanceUID = series
    header.StudyInstanceUID = header.FrameOfReferenceUID = "1.2.3"
    header.Modality, header.InstanceNumber = "SM", 1
    header.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    header.PhotometricInterpretation, header.PlanarConfiguration = "RGB", 0
    header.SamplesPerPixel, header.PixelRepresentation = 3, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    header.Rows = header.Columns = TILE_PX
    header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns = level.shape[:2]
    header.TotalPixelMatrixFocalPlanes = header.NumberOfOpticalPaths = 1
    header.ImagedVolumeHeight = level.shape[0] * mpp / 1000
    header.ImagedVolumeWidth = level.shape[1] * mpp / 1000
    header.ImagedVolumeDepth = 0.001
    header.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    header.FocusMethod, header.ExtendedDepthOfField = "AUTO", "NO"
    header.DimensionOrganizationType = "TILED_FULL"
    header.SharedFunctionalGroupsSequence = _sequence(
        PixelMeasuresSequence=_sequence(
            PixelSpacing=[mpp / 1000] * 2, SliceThickness=0.001
        ),
        WholeSlideMicroscopyImageFrameTypeSequence=_sequence(
            FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        ),
    )
    header.OpticalPathSequence = _sequence(OpticalPathIdentifier="1")
    header.TotalPixelMatrixOriginSequence = _sequence(
        XOffsetInSlideCoordinateSystem=0.0, YOffsetInSlideCoordinateSystem=0.0
    )
    frames = [tile.tobytes() for tile in tiles(level)]
    header.NumberOfFrames, header.PixelData = len(frames), b"".join(frames)
    header.save_as(path, enforce_file_format=True)


def _sequence(**attributes: object) -> Sequence:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return Sequence([item])


def write_dicom(folder: Path) -> Sample:
    levels = pyramid()
    path = folder / "dicom-sample"
    path.mkdir()
    for i, level in enumerate(levels):
        write_dicom_level(path / f"{i}.dcm", level, MPP * 2**i, "1.2.4")
    return Sample(path=path, levels=levels)


def write_omezarr(folder: Path, zarr_format: int = 3) -> Sample:
    levels = pyramid()
    path = folder / "sample.ome.zarr"
    axes = [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    planes = [level.transpose(2, 0, 1) for level in levels]
    describe_zarr(
        path, planes, axes, [[1, MPP, MPP], [1, 0.5, 0.5]], zarr_format=zarr_format
    )
    return Sample(path=path, levels=levels)


def describe_zarr(
    path: Path,
    arrays: list[np.ndarray],
    axes: list[dict[str, str]],
    scales: list[list[float]],
    *,
    zarr_format: int = 3,
    omero: dict[str, object] | None = None,
) -> None:
    """Write arrays and their NGFF metadata: 0.5 for format 3, 0.4 for format 2."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    datasets = []
    for i, (array, scale) in enumerate(zip(arrays, scales, strict=True)):
        chunks = tuple(min(side, TILE_PX) for side in array.shape)
        stored = group.create_array(
            str(i), shape=array.shape, chunks=chunks, dtype=array.dtype
        )
        stored[...] = array
        transform = {"type": "scale", "scale": scale}
        datasets.append({"path": str(i), "coordinateTransformations": [transform]})
    described = {"multiscales": [{"axes": axes, "datasets": datasets}]}
    described |= {"omero": omero} if omero else {}
    group.attrs.update({"ome": described} if zarr_format == 3 else described)


def write_png(folder: Path) -> Sample:
    path = folder / "sample.png"
    dpi = 25_400 / MPP
    Image.fromarray(pixels()).save(path, dpi=(dpi, dpi))
    return Sample(path=path, levels=(pixels(),))


SAMPLES: dict[str, Callable[[Path], Sample]] = {
    "tiff": write_tiff,
    "openslide": write_philips,
    "dicom": write_dicom,
    "omezarr": write_omezarr,
    "image": write_png,
}
"""A writer for each reader, by its name. A new reader adds its own here."""


def cut(path: Path, share: float = 0.6) -> None:
    """Cut off the end of a file, or of every file of a folder that holds pixels."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    longest = max(file.stat().st_size for file in files)
    for file in files:
        content = file.read_bytes()
        if len(content) > longest / 10:
            file.write_bytes(content[: math.ceil(len(content) * share)])
