"""The zarr arrays of a slide: OME-Zarr for what stays, scratch for what doesn't.

A write unit is one file and has one writer: image and maps are cut by inference
windows, label maps by tiles. It is one chunk or, if that would be slow to look into, a
shard of smaller ones. Everything carries a checksum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
import zarr.codecs
import zarr.errors
from numpy.typing import NDArray

from segpipe.errors import StoreDamaged
from segpipe.geometry import Box
from segpipe.stores.durable import remove
from segpipe.stores.local_store import RenamingStore
from segpipe.stores.ngff import label_metadata, multiscale_metadata

_NO_METADATA = (FileNotFoundError, zarr.errors.NodeNotFoundError, ValueError, KeyError)

Fill = Literal[0, 255]

MAX_CHUNK_PX = 1024
"""Write units larger than this are shards: for a small box of a chunk of 4096 px a
reader would decode 64 MiB."""
MIN_CHUNK_PX = 256
"""Smaller chunks of a shard cost more than they save."""

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """An array to create."""

    path: str
    """Path in the store, e.g. ``maps/prob``."""
    shape: tuple[int, ...]
    """Shape; the last two axes are Y, X."""
    unit_px: int
    """Side of a write unit."""
    dtype: str
    """Numpy name of the element type."""
    fill: Fill = 0
    """What was never written reads as."""
    is_label_map: bool = False
    """Label maps compress best unshuffled."""


@dataclass(frozen=True, slots=True)
class SlideStore:
    """A zarr group on disk, opened anew by each process."""

    root: Path

    def create(self, spec: ArraySpec) -> None:
        """Make an array, empty, in place of whatever was there."""
        leading, sides = spec.shape[:-2], spec.shape[-2:]
        unit_px, chunk_px = spec.unit_px, chunk_px_of(spec.unit_px)
        is_sharded = chunk_px < min(unit_px, max(sides))
        whole = (*leading, *(min(unit_px, side) for side in sides))
        self.drop(spec.path)
        zarr.create_array(
            self._local(spec.path),
            shape=spec.shape,
            chunks=(*leading, chunk_px, chunk_px) if is_sharded else whole,
            shards=(*leading, unit_px, unit_px) if is_sharded else None,
            dtype=spec.dtype,
            fill_value=spec.fill,
            compressors=_compressors(is_label_map=spec.is_label_map),
        )

    def read(self, path: str, box: Box, *, written: Iterable[Box] = ()) -> Pixels:
        """Read a box (within the array) of an array, all leading axes of it.

        Parameters
        ----------
        path
            An array.
        box
            What to read.
        written
            Chunks that have been written, and must not be taken for empty.

        Raises
        ------
        StoreDamaged
            If the array is missing, a chunk fails its checksum, or one that was written
            isn't there, for which zarr would read the fill value.
        """
        array = self._open(path)
        self._check_written(array, path, written)
        try:
            pixels = array[(..., *box.slices())]
        except (RuntimeError, ValueError, OSError) as error:
            message = (
                f"Array {path} of {self.root} can't be read at {box}: {error}. "
                "Run again: what is damaged is computed anew."
            )
            raise StoreDamaged(message, array=path, box=astuple(box)) from error
        return np.asarray(pixels)

    def _check_written(
        self, array: zarr.Array[Any], path: str, cores: Iterable[Box]
    ) -> None:
        for core in cores:
            if not self._unit(array, path, core).exists():
                message = (
                    f"Array {path} of {self.root} has lost its chunk at {core}. "
                    "Run again: it is computed anew."
                )
                raise StoreDamaged(message, array=path, box=astuple(core))

    def write(self, path: str, box: Box, pixels: Pixels) -> None:
        """Write a write unit of an array, also where all is the fill value."""
        array = self._open(path).with_config({"write_empty_chunks": True})
        if array.shards is not None:
            # Of a shard that sticks out of the array zarr writes a part, for which it
            # reads the one that is there, which may be damaged.
            remove(self._unit(array, path, box))
        array[(..., *box.slices())] = pixels

    def _unit(self, array: zarr.Array[Any], path: str, core: Box) -> Path:
        """Return the file of the write unit that begins where a box does."""
        height, width = (array.shards or array.chunks)[-2:]
        leading = "0/" * (array.ndim - 2)
        name = f"c/{leading}{core.y0 // height}/{core.x0 // width}"
        return self.root / path / name

    def has(self, path: str) -> bool:
        """Whether the array exists."""
        return (self.root / path / "zarr.json").exists()

    def drop(self, path: str) -> None:
        """Remove an array or a group with all it holds, whole or not at all."""
        remove(self.root / path)

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        return self._open(path).shape

    def describe_image(self, name: str, mpp: float) -> None:
        """Say in the root's metadata that ``image`` is an OME-Zarr image."""
        self._group("").attrs["ome"] = multiscale_metadata(
            name, ("c", "y", "x"), ["image"], mpp
        )

    def describe_labels(self, path: str, mpp: float) -> None:
        """Say in the metadata that ``labels/<name>`` is an OME-Zarr label image."""
        parent, name = path.split("/")
        self._group("")
        self._group(parent).attrs["ome"] = {"version": "0.5", "labels": [name]}
        self._group(path).attrs["ome"] = label_metadata(name, mpp)

    def forget_image(self) -> None:
        """Take the image's metadata back, with the image gone."""
        self._group("").attrs.pop("ome", None)

    def note(self, path: str, facts: dict[str, Any]) -> None:
        """Attach facts to an array."""
        self._open(path).attrs.update(facts)

    def _open(self, path: str) -> zarr.Array[Any]:
        try:
            return zarr.open_array(self._local(path), mode="r+")
        except _NO_METADATA as error:
            message = (
                f"Array {path} of {self.root} is missing, or what describes it is "
                f"damaged: {error}. Run again: it is computed anew."
            )
            raise StoreDamaged(message, array=path) from error

    def _group(self, path: str) -> zarr.Group:
        try:
            return zarr.open_group(self._local(path), mode="a", zarr_format=3)
        except _NO_METADATA as error:
            remove(self.root / path / "zarr.json")
            message = (
                f"What describes group /{path} of {self.root} was damaged: {error}. "
                "Run again: it is written anew."
            )
            raise StoreDamaged(message, array=path or "image") from error

    def _local(self, path: str) -> RenamingStore:
        return RenamingStore(self.root / path)


def chunk_px_of(unit_px: int) -> int:
    """Return the side of the chunks of a write unit: its own, or a fraction of it."""
    parts = range(-(-unit_px // MAX_CHUNK_PX), unit_px // MIN_CHUNK_PX + 1)
    return next((unit_px // n for n in parts if unit_px % n == 0), unit_px)


def _compressors(*, is_label_map: bool) -> Sequence[Any]:
    """Return the codecs measured best: unshuffled blosc for ids, zstd for the rest."""
    if is_label_map:
        blosc = zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="noshuffle")
        return (blosc, zarr.codecs.Crc32cCodec())
    return (zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec())
