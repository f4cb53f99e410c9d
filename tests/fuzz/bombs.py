"""Slides of a few kilobytes that ask for gigabytes, or for hours, if one lets them.

Each exploits a number that a format lets a file declare and that costs the reader more
than the file. Random damage seldom hits these, so they are made by hand.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import zarr
from borrowed import MPP, TILE_PX, describe_zarr, pixels, write_dicom_level
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit
from specimens import OME

Write = Callable[[Path], Path]
BILLION_LAUGHS = (
    "<!DOCTYPE OME [<!ENTITY a0 'haha'>"
    + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 10))
    + ']><OME xmlns="x">&a9;</OME>'
)
HUGE = 20_000
"""Side of a picture that takes 1.2 GB."""


def _noted(description: str) -> dict[str, object]:
    return {"description": description.encode(), "metadata": None}


def tile_that_declares_more(encode: Callable[[], bytes], compression: str) -> Write:
    """Put a picture of another size where a tile of 64 pixels is expected."""

    def write(folder: Path) -> Path:
        path = folder / "tile.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(
                iter([encode()]),
                shape=(TILE_PX, TILE_PX, 3),
                dtype="uint8",
                tile=(TILE_PX, TILE_PX),
                compression=compression,
                photometric="rgb",
                resolution=(40_000, 40_000),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
        return path

    return write


def jpeg_of(side: int) -> bytes:
    """Return a JPEG of 8 pixels whose header says ``side``."""
    content = bytearray(imagecodecs.jpeg8_encode(pixels((8, 8))))
    at = content.find(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(content)


def white(side: int) -> np.ndarray:
    return np.full((side, side, 3), 255, np.uint8)


def zeros(pack: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: pack(bytes(2**24))


def jpeg_of_many_scans(folder: Path) -> Path:
    """Repeat an empty scan: each costs a pass over all pixels."""
    file = io.BytesIO()
    Image.new("RGB", (500, 500), "purple").save(file, "JPEG", progressive=True)
    content = file.getvalue()
    at = content.rfind(b"\xff\xda")
    scan = content[at:-2]
    path = folder / "scans.jpg"
    path.write_bytes(content[:at] + scan * 1000 + b"\xff\xd9")
    return path


def large_png(folder: Path) -> Path:
    """Declare 13 000 pixels a side, which Pillow would take."""
    path = folder / "large.png"
    row = zlib.compress(bytes(1 + 4 * 13_000))
    about = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", about), (b"IDAT", row), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)
            for kind, body in chunks
        )
    )
    return path


def chain(n_pages: int, next_of: Callable[[int], int]) -> Write:
    """Write a TIFF of many small pages."""

    def write(folder: Path) -> Path:
        entries = [
            (256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1),
            (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 64),
            (279, 4, 1, 4096),
        ]  # fmt: skip
        size = 2 + 12 * len(entries) + 4
        first = 8 + 4096
        content = bytearray(struct.pack("<2sHI", b"II", 42, first) + bytes(4096))
        for page in range(n_pages):
            content += struct.pack("<H", len(entries))
            content += b"".join(struct.pack("<HHII", *entry) for entry in entries)
            following = next_of(page)
            content += struct.pack("<I", following and first + following * size)
        path = folder / "chain.tif"
        path.write_bytes(content)
        return path

    return write


def tags_that_share_their_bytes(folder: Path) -> Path:
    """Write a page of 3000 descriptions, all of which are the same 4 MB."""
    n_tags, n_bytes = 3000, 2**22
    at = 8 + 2 + 12 * n_tags + 4
    content = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", n_tags)
    content += struct.pack("<HHII", 270, 2, n_bytes, at) * n_tags
    path = folder / "tags.tif"
    path.write_bytes(content + bytes(4) + b"a" * n_bytes)
    return path


def described(description: str) -> Write:
    def write(folder: Path) -> Path:
        path = folder / "slide.ome.tif"
        tifffile.imwrite(
            path, pixels(), tile=(TILE_PX, TILE_PX), photometric="rgb",
            **_noted(description),
        )  # fmt: skip
        return path

    return write


def long_xml(folder: Path) -> Path:
    return described(OME.replace("<TiffData/>", "<TiffData/>" * 1_600_000))(folder)


def thin_tiff(folder: Path) -> Path:
    """Declare one row of very many pixels."""
    path, n_columns = folder / "thin.tif", 2**27
    stored = zlib.compress(bytes(3 * 2**20))
    with tifffile.TiffWriter(path) as file:
        file.write(
            (stored for _ in range(n_columns // 2**16 // 16)),
            shape=(16, n_columns, 3),
            dtype="uint8",
            tile=(16, 2**20),
            compression="deflate",
            photometric="rgb",
            resolution=(40_000, 40_000),
            resolutionunit="CENTIMETER",
            metadata=None,
        )
    return path


def zarr_of(shape: tuple[int, ...], **options: object) -> Write:
    """Write only metadata: chunks that aren't there are blank."""

    def write(folder: Path) -> Path:
        path = folder / "slide.zarr"
        group = zarr.open_group(path, mode="w")
        axes = "tczyx"[-len(shape) :] if len(shape) != 3 else "cyx"
        scale = [1.0] * (len(shape) - 2) + [float(options.pop("mpp", MPP))] * 2
        group.create_array("0", shape=shape, dtype="uint8", **options)
        transform = {"type": "scale", "scale": scale}
        multiscale = {
            "axes": [{"name": a, "unit": "micrometer"} for a in axes],
            "datasets": [{"path": "0", "coordinateTransformations": [transform]}],
        }
        group.attrs["ome"] = {"multiscales": [multiscale]}
        return path

    return write


def zarr_chunk(codec: str, content: Callable[[], bytes]) -> Write:
    """Write a chunk that is larger than its array once it is unpacked."""

    def write(folder: Path) -> Path:
        path = zarr_of((3, 256, 256), chunks=(3, 256, 256))(folder)
        about = json.loads((path / "0" / "zarr.json").read_text())
        settings = {
            "gzip": {"level": 1},
            "zstd": {"level": 1, "checksum": False},
            "blosc": {
                "typesize": 1, "cname": "zstd", "clevel": 1, "shuffle": "noshuffle",
                "blocksize": 0,
            },
        }  # fmt: skip
        about["codecs"][-1] = {"name": codec, "configuration": settings[codec]}
        (path / "0" / "zarr.json").write_text(json.dumps(about))
        chunk = path / "0" / "c" / "0" / "0" / "0"
        chunk.parent.mkdir(parents=True)
        chunk.write_bytes(content())
        return path

    return write


def deep_json(folder: Path) -> Path:
    path = zarr_of((3, 64, 64))(folder)
    (path / "zarr.json").write_text("[" * 200_000 + "]" * 200_000)
    return path


def dicom_level(folder: Path) -> tuple[Path, Dataset]:
    """Write a sound level; return its path and what it holds, to be spoilt."""
    path = folder / "dicom" / "0.dcm"
    path.parent.mkdir()
    write_dicom_level(path, pixels((64, 64)), MPP, "1.2.3")
    return path, dcmread(path)


def deflated_dicom(folder: Path) -> Path:
    """Write a header that is 16 MB of zeros once it is inflated."""
    path, header = dicom_level(folder)
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    header.add_new(0x00091010, "OB", bytes(2**24))
    header.save_as(path)
    return path.parent


def dicom_frame_that_declares_more(folder: Path) -> Path:
    path, header = dicom_level(folder)
    header.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    header.PixelData = encapsulate([jpeg_of(HUGE // 2)])
    header["PixelData"].VR = "OB"
    header.save_as(path)
    return path.parent


def dicom_of_many_frames(folder: Path) -> Path:
    """Declare tiles of a pixel."""
    path, header = dicom_level(folder)
    header.Rows = header.Columns = 1
    header.TotalPixelMatrixRows = header.TotalPixelMatrixColumns = 100_000
    header.NumberOfFrames = 64 * 64
    header.save_as(path)
    return path.parent


def pickled_zarr(folder: Path) -> Path:
    """Name pickle as the codec of a chunk that leaves a file behind if it is run."""
    path = folder / "slide.zarr"
    describe_zarr(
        path,
        [np.zeros((3, 256, 256), np.uint8)],
        [{"name": a, "unit": "micrometer"} for a in "cyx"],
        [[1, MPP, MPP]],
        zarr_format=2,
    )
    about = json.loads((path / "0" / ".zarray").read_text())
    about |= {"compressor": {"id": "pickle"}, "filters": None}
    (path / "0" / ".zarray").write_text(json.dumps(about))
    for chunk in (path / "0").glob("[0-9]*"):
        chunk.write_bytes(b"cos\nsystem\n(S'touch " + bytes(folder / "ran") + b"'\ntR.")
    return path


BOMBS: dict[str, tuple[str, Write]] = {
    "jpeg-tile": (
        "SlideCorrupt",
        tile_that_declares_more(lambda: jpeg_of(HUGE), "jpeg"),
    ),
    "jpeg2000-tile": (
        "SlideCorrupt",
        tile_that_declares_more(
            lambda: imagecodecs.jpeg2k_encode(white(512), codecformat="j2k"), "jpeg2000"
        ),
    ),
    "webp-tile": (
        "SlideCorrupt",
        tile_that_declares_more(lambda: imagecodecs.webp_encode(white(512)), "webp"),
    ),
    "jpegxl-tile": (
        "SlideCorrupt",
        tile_that_declares_more(
            lambda: imagecodecs.jpegxl_encode(white(512)), "jpegxl"
        ),
    ),
    "png-tile": (
        "SlideCorrupt",
        tile_that_declares_more(lambda: imagecodecs.png_encode(white(512)), "png"),
    ),
    "deflate-tile": (
        "SlideCorrupt",
        tile_that_declares_more(zeros(zlib.compress), "deflate"),
    ),
    "jpeg-scans": ("SlideCorrupt", jpeg_of_many_scans),
    "png-large": ("SlideTooLarge", large_png),
    "tiff-loop": ("SlideCorrupt", chain(50, lambda page: (page + 1) % 50 or 7)),
    "tiff-many-pages": ("SlideCorrupt", chain(5_000, lambda page: page + 1)),
    "tiff-shared-tags": ("SlideCorrupt", tags_that_share_their_bytes),
    "tiff-thin": ("SlideTooLarge", thin_tiff),
    "xml-entities": ("read", described(BILLION_LAUGHS)),
    "xml-long": ("read", long_xml),
    "zarr-blank": ("SlideTooLarge", zarr_of((3, 2**18, 2**18), chunks=(3, 512, 512))),
    "zarr-coarse": (
        "MppImplausible",
        zarr_of((3, 92_000, 92_000), chunks=(3, 512, 512), mpp=1.0),
    ),
    "zarr-deep-chunk": (
        "SlideTooLarge",
        zarr_of((1, 3, 1, 512, 512), chunks=(2**14, 3, 1, 512, 512)),
    ),
    "zarr-dust": ("SlideCorrupt", zarr_of((3, 2**12, 2**12), chunks=(1, 1, 1))),
    "zarr-gzip": ("SlideCorrupt", zarr_chunk("gzip", zeros(imagecodecs.gzip_encode))),
    "zarr-zstd": ("SlideCorrupt", zarr_chunk("zstd", zeros(imagecodecs.zstd_encode))),
    "zarr-blosc": (
        "SlideCorrupt",
        zarr_chunk("blosc", zeros(imagecodecs.blosc_encode)),
    ),
    "zarr-pickle": ("SlideCorrupt", pickled_zarr),
    "zarr-deep-json": ("SlideCorrupt", deep_json),
    "dicom-deflated": ("SlideUnsupported", deflated_dicom),
    "dicom-frame": ("SlideCorrupt", dicom_frame_that_declares_more),
    "dicom-many-frames": ("SlideTooLarge", dicom_of_many_frames),
}
"""By name: the error that it must meet, and what writes it into a folder."""
