"""The zarr arrays of a slide: OME-Zarr for what stays, scratch for what doesn't.

One chunk is one write unit and has one writer: image and maps are chunked by inference
windows, label maps by tiles. Everything carries a checksum.
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
from segpipe.stores.durable import remove_tree
from segpipe.stores.ngff import label_metadata, multiscale_metadata

_NO_METADATA = (FileNotFoundError, zarr.errors.NodeNotFoundError, ValueError, KeyError)

Fill = Literal[0, 255]

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """An array to create."""

    path: str
    """Path in the store, e.g. ``maps/prob``."""
    shape: tuple[int, ...]
    """Shape; the last two axes are Y, X."""
    chunk_px: int
    """Side of a chunk: the write unit."""
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
        leading = spec.shape[:-2]
        chunks = (*leading, *(min(spec.chunk_px, side) for side in spec.shape[-2:]))
        zarr.create_array(
            self._local(spec.path),
            shape=spec.shape,
            chunks=chunks,
            dtype=spec.dtype,
            fill_value=spec.fill,
            compressors=_compressors(is_label_map=spec.is_label_map),
            overwrite=True,
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
        leading = "0/" * (array.ndim - 2)
        for core in cores:
            row, col = core.y0 // array.chunks[-2], core.x0 // array.chunks[-1]
            if not (self.root / path / f"c/{leading}{row}/{col}").exists():
                message = (
                    f"Array {path} of {self.root} has lost its chunk at {core}. "
                    "Run again: it is computed anew."
                )
                raise StoreDamaged(message, array=path, box=astuple(core))

    def write(self, path: str, box: Box, pixels: Pixels) -> None:
        """Write whole chunks of an array, also where all is the fill value."""
        array = self._open(path).with_config({"write_empty_chunks": True})
        array[(..., *box.slices())] = pixels

    def has(self, path: str) -> bool:
        """Whether the array exists."""
        return (self.root / path / "zarr.json").exists()

    def drop(self, path: str) -> None:
        """Remove an array or a group with all it holds, whole or not at all."""
        remove_tree(self.root / path)

    def sweep(self) -> None:
        """Remove what writers that were killed left of chunks half written.

        Only while nobody writes.
        """
        for left_over in self.root.rglob("*.partial"):  # zarr's LocalStore names them
            left_over.unlink(missing_ok=True)

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
            (self.root / path / "zarr.json").unlink(missing_ok=True)
            message = (
                f"What describes group /{path} of {self.root} was damaged: {error}. "
                "Run again: it is written anew."
            )
            raise StoreDamaged(message, array=path or "image") from error

    def _local(self, path: str) -> str:
        return str(self.root / path) if path else str(self.root)


def _compressors(*, is_label_map: bool) -> Sequence[Any]:
    """Return the codecs measured best: unshuffled blosc for ids, zstd for the rest."""
    if is_label_map:
        blosc = zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="noshuffle")
        return (blosc, zarr.codecs.Crc32cCodec())
    return (zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec())
