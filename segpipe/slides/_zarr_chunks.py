"""Which zarr arrays are safe to read: known codecs, sane chunks, no chunk that swells.

A zarr names the codecs of its chunks, and one that numcodecs knows unpickles what it is
given, which runs code. So only codecs of pixels are taken, and each chunk must say, or
show, that it unpacks to no more than its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import zarr
from zarr.abc.store import ByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from segpipe.errors import SlideCorrupt, SlideTooLarge, SlideUnsupported
from segpipe.slides._declared import refuse_inflating

COMPRESSORS = frozenset({"blosc", "zstd", "gzip", "zlib"})
PLAIN = frozenset({"bytes", "transpose", "crc32c"})
"""Codecs that keep the number of bytes, but for a checksum."""
MAX_CHUNK_BYTES = 2**26
"""A chunk unpacked; several are at a time."""
MIN_CHUNK_PIXELS = 32**2
"""Of a picture larger than a chunk: a block of 4096 pixels has 16 000 of them."""
MAX_CHUNKS_OF_SHARD = 2**16
MAX_METADATA_BYTES = 2**24
METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
CHECKSUM_BYTES = 4
ABSENT = 2**64 - 1
"""Place of a chunk that a shard doesn't hold."""


def refuse_long_metadata(path: Path) -> None:
    """Refuse metadata that take long, and much memory, to parse.

    Raises
    ------
    SlideCorrupt
        If a file of them is larger than ``MAX_METADATA_BYTES``.
    """
    for name in METADATA:
        file = path / name
        n_bytes = file.stat().st_size if file.is_file() else 0
        if n_bytes > MAX_METADATA_BYTES:
            message = (
                f"{file} has {n_bytes} bytes; metadata of a slide have at most "
                f"{MAX_METADATA_BYTES}. Write them again."
            )
            raise SlideCorrupt(message)


def guarded(path: Path, array: zarr.Array[Any], y: int, x: int) -> zarr.Array[Any]:
    """Return the array with a guard before its chunks, if it is safe to read at all.

    Parameters
    ----------
    path
        The slide.
    array
        As opened; none of its chunks has been read.
    y, x
        Which axes are height and width.

    Raises
    ------
    SlideUnsupported
        If it is packed by a codec that isn't known to be safe.
    SlideTooLarge
        If a chunk or shard is too large.
    SlideCorrupt
        If its chunks are too small to be read in any time.
    """
    codec = _compressor(path, array)
    _refuse_odd_chunks(path, array, y, x)
    n_bytes = math.prod(array.chunks) * array.dtype.itemsize
    store = GuardedStore.at(_root_of(array), codec, n_bytes, _shard_chunks(array))
    return zarr.open_array(store, path=array.path, mode="r")


def _root_of(array: zarr.Array[Any]) -> Path:
    store = array.store
    if not isinstance(store, LocalStore):
        message = f"{array} doesn't lie in a folder"
        raise TypeError(message)
    return store.root


def _compressor(path: Path, array: zarr.Array[Any]) -> str:
    """Return the name of the one codec that compresses, or nothing."""
    names = _codecs_2(array) if array.metadata.zarr_format == 2 else _codecs_3(array)
    used = [name for name in names if name not in PLAIN]
    if len(used) > 1 or not set(used) <= COMPRESSORS:
        message = (
            f"{path} packs its chunks by {', '.join(names)}. segpipe unpacks by one of "
            f"{', '.join(sorted(COMPRESSORS))}, without filters; others may run code, "
            "or swell. Write it again with one of these."
        )
        raise SlideUnsupported(message)
    return used[0] if used else ""


def _codecs_2(array: zarr.Array[Any]) -> list[str]:
    metadata: Any = array.metadata
    codecs = (*(metadata.filters or ()), metadata.compressor)
    return [codec.codec_id for codec in codecs if codec is not None]


def _codecs_3(array: zarr.Array[Any]) -> list[str]:
    codecs: Sequence[Any] = array.metadata.codecs  # type: ignore[union-attr]
    names = [_name(codec) for codec in codecs]
    if names != ["sharding_indexed"]:
        return names
    (shards,) = codecs
    is_plain = [_name(codec) for codec in shards.index_codecs] == ["bytes", "crc32c"]
    is_at_end = getattr(shards.index_location, "value", "") == "end"
    if not (is_plain and is_at_end):
        return [*names, "an index of another kind"]
    return [_name(codec) for codec in shards.codecs]


def _name(codec: Any) -> str:  # noqa: ANN401 - codecs have no common type
    return str(codec.to_dict()["name"])


def _shard_chunks(array: zarr.Array[Any]) -> int:
    """Return how many chunks a shard has; 0 if there are no shards."""
    if array.shards is None:
        return 0
    pairs = zip(array.shards, array.chunks, strict=True)
    return math.prod(shard // chunk for shard, chunk in pairs)


def _refuse_odd_chunks(path: Path, array: zarr.Array[Any], y: int, x: int) -> None:
    n_bytes = math.prod(array.chunks) * array.dtype.itemsize
    chunk = f"chunks of {' x '.join(map(str, array.chunks))}"
    if n_bytes > MAX_CHUNK_BYTES or _shard_chunks(array) > MAX_CHUNKS_OF_SHARD:
        message = (
            f"{path} has {chunk}, {n_bytes} bytes each ({MAX_CHUNK_BYTES} at most), "
            f"{_shard_chunks(array)} to a shard ({MAX_CHUNKS_OF_SHARD} at most). "
            "Write it with chunks of 256 to 1024 pixels."
        )
        raise SlideTooLarge(message)
    pixels = array.chunks[y] * array.chunks[x]
    if pixels < min(MIN_CHUNK_PIXELS, array.shape[y] * array.shape[x]):
        message = (
            f"{path} has {chunk}: {pixels} pixels, each chunk read by itself. Write it "
            "with chunks of 256 to 1024 pixels."
        )
        raise SlideCorrupt(message)


class GuardedStore(WrapperStore[LocalStore]):
    """A folder whose chunks are looked at before they are unpacked."""

    _codec: str
    _most_bytes: int
    _n_of_shard: int

    @classmethod
    def at(cls, root: Path, codec: str, most_bytes: int, n_of_shard: int) -> Self:
        """Guard a folder.

        Parameters
        ----------
        root
            The folder.
        codec
            What its chunks are compressed by.
        most_bytes
            Bytes of a chunk unpacked.
        n_of_shard
            Chunks of a shard; 0 if there are no shards.
        """
        store = cls(LocalStore(root, read_only=True))
        store._codec, store._most_bytes = codec, most_bytes
        store._n_of_shard = n_of_shard
        return store

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what is stored.

        Raises
        ------
        ValueError
            If it would unpack to more than a chunk has.
        """
        found = await super().get(key, prototype, byte_range)
        is_index = isinstance(byte_range, SuffixByteRequest)
        if found is not None and not is_index and not key.endswith(METADATA):
            self._refuse_swelling(found.to_bytes(), is_whole=byte_range is None)
        return found

    def _refuse_swelling(self, stored: bytes, *, is_whole: bool) -> None:
        pieces = [stored]
        if is_whole and self._n_of_shard:
            pieces = list(_chunks_of(stored, self._n_of_shard))
        for piece in pieces:
            refuse_inflating(piece, self._codec, self._most_bytes)


def _chunks_of(shard: bytes, n_chunks: int) -> Iterator[bytes]:
    """Yield the chunks of a shard, by the index at its end."""
    index = shard[-16 * n_chunks - CHECKSUM_BYTES : -CHECKSUM_BYTES]
    if len(index) < 16 * n_chunks:
        _refuse_short(len(shard))
    for offset, size in np.frombuffer(index, "<u8").reshape(-1, 2).tolist():
        if offset != ABSENT:
            yield shard[offset : offset + size]


def _refuse_short(n_bytes: int) -> NoReturn:
    message = f"a shard of {n_bytes} bytes is shorter than its index"
    raise ValueError(message)
