"""How many pages and tags a TIFF has, before tifffile makes objects of them.

A page costs 18 bytes of file and thousands of memory, and tags may share their bytes;
so a small file can declare a great heap. The chain is walked here with a bound.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from segpipe.errors import SlideCorrupt

MAX_PAGES = 4096
"""Pages of a file, a stack of focal planes included; a slide has about ten."""
MAX_TAGS = 512
"""Tags of a page; a slide has about thirty."""
MAX_TAG_BYTES = 2**25
"""Values of all tags together: those of a slide of 2 million tiles take as much."""
MAX_VALUE_BYTES = 8
"""Of a value of the largest type."""
BYTE_ORDERS = {b"II": "<", b"MM": ">"}
BIG = 43
SUBIFDS = 330
"""Tag of the pages below a page."""
FARTHEST = 2**62
"""Where nothing is; the system takes no larger offsets."""


def refuse_heaps(path: Path, *, n_pages: int | None = None) -> None:
    """Refuse a chain of pages that is a loop, endless, or heavy with tags.

    What lies outside the file is passed over: reading it says so.

    Parameters
    ----------
    path
        A TIFF.
    n_pages
        Pages to look at, from the first; all by default.

    Raises
    ------
    SlideCorrupt
        With the number and the limit.
    OSError
        If the file can't be read.
    """
    seen: set[int] = set()
    n_bytes = 0
    with path.open("rb") as file:
        for offset, n_tags, tag_bytes in _directories(file):
            n_bytes += tag_bytes
            if offset in seen:
                _refuse(path, f"its page at byte {offset} comes again, a loop")
            seen.add(offset)
            if len(seen) > MAX_PAGES:
                _refuse(path, f"it has more than the {MAX_PAGES} pages a slide may")
            if n_tags > MAX_TAGS:
                _refuse(path, f"a page has {n_tags} tags, more than {MAX_TAGS}")
            if n_bytes > MAX_TAG_BYTES:
                _refuse(
                    path,
                    f"the tags of its first {len(seen)} pages hold {n_bytes} bytes, "
                    f"more than {MAX_TAG_BYTES}",
                )
            if len(seen) == n_pages:
                return


def _refuse(path: Path, found: str) -> None:
    message = (
        f"{path} is damaged, or made to exhaust memory: {found}. "
        "Copy or export the slide again."
    )
    raise SlideCorrupt(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """How the numbers of a file are packed."""

    tags: struct.Struct
    """How many tags a page has."""
    entry: struct.Struct
    """A tag: code, type, count, value or where it lies."""
    pointer: struct.Struct
    """Where a page begins."""

    @classmethod
    def of(cls, head: bytes) -> Self:
        order = BYTE_ORDERS[head[:2]]
        is_big = struct.unpack_from(order + "H", head, 2)[0] == BIG
        word, short = ("Q", "Q") if is_big else ("I", "H")
        return cls(
            tags=struct.Struct(order + short),
            entry=struct.Struct(f"{order}HH{word}{word}"),
            pointer=struct.Struct(order + word),
        )


def _directories(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Yield the place of each page, how many tags it has, and the bytes of them all.

    Pages come in the order of the chain, each followed by those below it.
    """
    head = file.read(16)
    if head[:2] not in BYTE_ORDERS or len(head) < 16:
        return
    n_file = file.seek(0, os.SEEK_END)
    words = _Words.of(head)
    (following,) = words.pointer.unpack_from(head, words.pointer.size)
    while following:
        offset = following
        n_tags, entries, following = _directory(file, words, offset)
        yield offset, n_tags, sum(_bytes(k, n, n_file) for _, k, n, _ in entries)
        for code, _, count, value in entries:
            if code == SUBIFDS:
                for below in _below(file, words, count, value):
                    n_tags, tags, _ = _directory(file, words, below)
                    n_bytes = sum(_bytes(k, n, n_file) for _, k, n, _ in tags)
                    yield below, n_tags, n_bytes


def _directory(
    file: BinaryIO, words: _Words, offset: int
) -> tuple[int, list[tuple[int, int, int, int]], int]:
    """Read a page: how many tags, those that are there, and where the next begins."""
    file.seek(min(offset, FARTHEST))
    counted = file.read(words.tags.size)
    if len(counted) < words.tags.size:
        return 0, [], 0
    (n_tags,) = words.tags.unpack(counted)
    content = file.read(min(n_tags, MAX_TAGS + 1) * words.entry.size)
    n_whole = len(content) // words.entry.size * words.entry.size
    after = file.read(words.pointer.size)
    is_whole = len(after) == words.pointer.size
    following = int(words.pointer.unpack(after)[0]) if is_whole else 0
    return n_tags, list(words.entry.iter_unpack(content[:n_whole])), following


def _below(file: BinaryIO, words: _Words, count: int, value: int) -> list[int]:
    """Return where the pages below one begin."""
    if count <= 1:
        return [value] * count
    file.seek(min(value, FARTHEST))
    content = file.read(min(count, MAX_PAGES + 1) * words.pointer.size)
    n_whole = len(content) // words.pointer.size * words.pointer.size
    return [offset for (offset,) in words.pointer.iter_unpack(content[:n_whole])]


VALUE_BYTES = {1: 1, 2: 1, 3: 2, 6: 1, 7: 1, 8: 2, 4: 4, 9: 4, 11: 4, 13: 4}
"""Bytes of a value of each type of tag that has fewer than eight."""


def _bytes(kind: int, count: int, n_file: int) -> int:
    """Return the bytes of a tag's value; none if they can't lie in the file."""
    n_bytes = count * VALUE_BYTES.get(kind, MAX_VALUE_BYTES)
    return n_bytes if n_bytes <= n_file else 0
