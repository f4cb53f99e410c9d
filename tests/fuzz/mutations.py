"""Damage a slide on purpose: pure functions of a specimen and a random generator.

Half the damage is blind (bits, blocks, cuts) and half knows the format: it changes one
field of a directory, an element, a marker or a metadata tree to a value that programs
are known to trip over.
"""

from __future__ import annotations

import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from specimens import Specimen

ODD_NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 16, 63, 64, 127, 128, 255, 256, 1023, 4096, 32767, 32768,
    65535, 65536, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62,
    2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
"""Where sizes, signs and counts break."""
HEAD_BYTES = 4096
"""Most formats keep their metadata at the head or the tail."""
N_MUTATIONS = (1, 1, 1, 2, 4)
"""Changes made to one slide, one after the other: mostly one, so that it comes far."""
COMPRESSIONS = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 32773, 32946, 33003, 33004, 33005, 33007, 34712, 34887,
    34892, 34925, 34926, 34927, 34933, 34934, 48124, 50000, 50001, 50002, 52546, 65000,
)  # fmt: skip
"""Codes of the tag Compression that tifffile knows, and some it doesn't."""
TAGS_OF_LAYOUT = (
    254, 256, 257, 258, 259, 262, 270, 273, 277, 278, 279, 284, 317, 322, 323, 324,
    325, 330, 338, 339, 347, 530,
)  # fmt: skip

Bytes = Callable[[bytes, random.Random], bytes]


def mutated(specimen: Specimen, rng: random.Random) -> Specimen:
    """Return a damaged copy."""
    files = dict(specimen.files)
    for _ in range(rng.choice(N_MUTATIONS)):
        if not files:
            break
        _mutate_one(specimen.kind, files, rng)
    return replace(specimen, files=files)


def _mutate_one(kind: str, files: dict[str, bytes], rng: random.Random) -> None:
    name = rng.choice(sorted(files))
    if len(files) > 1 and rng.random() < 0.05:
        other = rng.choice(sorted(files))
        files[name], files[other] = files[other], files[name]
        return
    if len(files) > 1 and rng.random() < 0.05:
        del files[name]
        return
    if name.endswith(("zarr.json", ".zarray", ".zgroup", ".zattrs")):
        how: Bytes = json_field if rng.random() < 0.8 else blind
    else:
        how = BY_KIND[kind] if rng.random() < 0.7 else blind
    files[name] = how(files[name], rng)


# Blind damage


def blind(content: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, cut, swap, double or blank something, anywhere."""
    return rng.choice(BLIND)(content, rng) if content else content


def _place(content: bytes, rng: random.Random) -> int:
    """Choose a place, the head and the tail more often than the rest."""
    near = min(HEAD_BYTES, len(content))
    return rng.choice(
        (
            rng.randrange(near),
            len(content) - 1 - rng.randrange(near),
            rng.randrange(len(content)),
        )
    )


def _spliced(content: bytes, at: int, new: bytes) -> bytes:
    """Overwrite, and never lengthen."""
    return (content[:at] + new + content[at + len(new) :])[: len(content)]


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 32, 256))):
        changed[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def odd_number(content: bytes, rng: random.Random) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice(ODD_NUMBERS) % 2 ** (8 * size)
    order = "little" if rng.random() < 0.5 else "big"
    at = _place(content, rng) // size * size
    return _spliced(content, at, number.to_bytes(size, order))


def cut_off(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def blank_block(content: bytes, rng: random.Random) -> bytes:
    at, size = _place(content, rng), 2 ** rng.randrange(1, 12)
    filler = rng.choice((b"\0", b"\xff", b"\x55"))
    return _spliced(content, at, filler * size)


def remove_block(content: bytes, rng: random.Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + 2 ** rng.randrange(12) :]


def double_block(content: bytes, rng: random.Random) -> bytes:
    at, size = _place(content, rng), 2 ** rng.randrange(1, 12)
    return content[: at + size] + content[at:]


def swap_blocks(content: bytes, rng: random.Random) -> bytes:
    size = 2 ** rng.randrange(1, 12)
    one, other = _place(content, rng), _place(content, rng)
    first, second = content[one : one + size], content[other : other + size]
    return _spliced(_spliced(content, one, second), other, first)


BLIND: tuple[Bytes, ...] = (
    flip_bits, flip_bits, flip_bits, odd_number, odd_number, odd_number, cut_off,
    blank_block, blank_block, remove_block, double_block, swap_blocks, swap_blocks,
)  # fmt: skip


# TIFF: one field of one entry of one directory


def tiff_field(content: bytes, rng: random.Random) -> bytes:
    """Change a field of a directory: code, type, count, value, or the next one."""
    try:
        return _tiff_field(content, rng)
    except (struct.error, IndexError, ValueError, OverflowError):
        return blind(content, rng)  # damaged too much already to be taken apart


def _tiff_field(content: bytes, rng: random.Random) -> bytes:
    order = "<" if content[:2] == b"II" else ">"
    is_big = content[2:4] in (b"+\0", b"\0+")
    word, n_tags, at = ("Q", "Q", 8) if is_big else ("I", "H", 4)
    entry = struct.Struct(f"{order}HH{word}{word}")
    directories: list[int] = []
    pointers = [at]
    (offset,) = struct.unpack_from(order + word, content, at)
    while offset and offset not in directories and len(directories) < 64:
        directories.append(offset)
        (count,) = struct.unpack_from(order + n_tags, content, offset)
        at = offset + struct.calcsize(n_tags) + count * entry.size
        pointers.append(at)
        (offset,) = struct.unpack_from(order + word, content, at)
    directory = rng.choice(directories)
    what = rng.random()
    if what < 0.08:
        target = rng.choice((*directories, 0, len(content), len(content) // 2, 8))
        new = struct.pack(order + word, target)
        return _spliced(content, rng.choice(pointers), new)
    (count,) = struct.unpack_from(order + n_tags, content, directory)
    if what < 0.12:
        most = 2 ** (8 * struct.calcsize(n_tags))
        new = struct.pack(order + n_tags, rng.choice(ODD_NUMBERS) % most)
        return _spliced(content, directory, new)
    at = directory + struct.calcsize(n_tags) + rng.randrange(count) * entry.size
    fields = list(entry.unpack_from(content, at))
    return _entry_changed(content, at, entry, fields, rng)


def _entry_changed(
    content: bytes, at: int, entry: struct.Struct, fields: list[int], rng: random.Random
) -> bytes:
    most = 2 ** (4 * (entry.size - 4))
    field = rng.choice((0, 1, 2, 3, 3, 3))
    if field == 0:
        fields[0] = rng.choice(TAGS_OF_LAYOUT)
    elif field == 1:
        fields[1] = rng.randrange(20)
    elif field == 3 and fields[0] == 259:
        fields[3] = _left_justified(rng.choice(COMPRESSIONS), entry)
    elif field == 3 and fields[0] in (273, 279, 324, 325, 330, 270, 347):
        inside = fields[3] + rng.randrange(64)  # somewhere in the values it points to
        number = rng.choice(ODD_NUMBERS) % 2**32
        return _spliced(content, inside, number.to_bytes(4, "little"))
    elif rng.random() < 0.5:
        fields[field] = _left_justified(rng.choice(ODD_NUMBERS) % 2**16, entry)
    else:
        fields[field] = rng.choice(ODD_NUMBERS) % most
    return _spliced(content, at, entry.pack(*fields))


def _left_justified(number: int, entry: struct.Struct) -> int:
    """Place a short as the value of an entry, which begins at its first byte."""
    is_motorola = entry.format.startswith(">")
    return number << (8 * ((entry.size - 4) // 2 - 2)) if is_motorola else number


# DICOM: value, length or type of one element

DICOM_TAGS = tuple(
    struct.pack("<HH", group, element)
    for group, element in (
        (0x0002, 0x0010), (0x0008, 0x0008), (0x0008, 0x0016), (0x0020, 0x000E),
        (0x0028, 0x0002), (0x0028, 0x0004), (0x0028, 0x0008), (0x0028, 0x0010),
        (0x0028, 0x0011), (0x0028, 0x0030), (0x0028, 0x0100), (0x0028, 0x9110),
        (0x0048, 0x0001), (0x0048, 0x0002), (0x0048, 0x0006), (0x0048, 0x0007),
        (0x0048, 0x0008), (0x0048, 0x0105), (0x5200, 0x9229), (0x7FE0, 0x0010),
    )
)  # fmt: skip
SYNTAXES = (
    b"1.2.840.10008.1.2\0\0\0", b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.5\0",
    b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.90",
)  # fmt: skip


def dicom_element(content: bytes, rng: random.Random) -> bytes:
    """Change what follows a known tag: type, length or value."""
    at = content.find(rng.choice(DICOM_TAGS))
    if at < 0:
        return blind(content, rng)
    if content.startswith(DICOM_TAGS[0], at):
        return _spliced(content, at + 8, rng.choice(SYNTAXES))
    where = at + rng.choice((4, 6, 8, 8, 8, 12))
    size = rng.choice((2, 4))
    number = rng.choice(ODD_NUMBERS) % 2 ** (8 * size)
    return _spliced(content, where, number.to_bytes(size, "little"))


# zarr: one node of the metadata

ODD_VALUES: tuple[Any, ...] = (
    None, True, "", "x", -1, 0, 1, 3, 2**31, 2**40, 2**63, 1e308, 0.1, [], [[]], {},
    [0], [2**40] * 3, "../../../../etc", "/etc/passwd", {"name": "blosc"}, "uint8",
    "float64", "|O", "x" * 100_000, "y", "c",
)  # fmt: skip


def json_field(content: bytes, rng: random.Random) -> bytes:
    """Replace, drop or double one node of a JSON tree."""
    try:
        tree = json.loads(content)
    except ValueError:
        return blind(content, rng)
    nodes = list(_nodes(tree))
    if not nodes:
        return blind(content, rng)
    parent, key = rng.choice(nodes)
    what = rng.random()
    if what < 0.15:
        del parent[key]
    elif what < 0.25 and isinstance(parent, list):
        parent.append(parent[key])
    elif what < 0.45 and isinstance(parent[key], (int, float)):
        parent[key] *= rng.choice((-1, 0, 2, 1000, 2**20, 2**40))
    else:
        parent[key] = rng.choice(ODD_VALUES)
    return json.dumps(tree).encode()


def _nodes(tree: Any) -> Any:
    keys: Any = ()
    if isinstance(tree, dict):
        keys = list(tree)
    elif isinstance(tree, list):
        keys = range(len(tree))
    for key in keys:
        yield tree, key
        yield from _nodes(tree[key])


# JPEG and PNG: one marker, one chunk


def jpeg_marker(content: bytes, rng: random.Random) -> bytes:
    """Change the length or the head of a segment, or double it."""
    found = [m.start() for m in re.finditer(rb"\xff[\xc0-\xfe]", content)]
    if not found:
        return blind(content, rng)
    at = rng.choice(found)
    what = rng.random()
    if what < 0.2:
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        return content[:end] + content[at:end] * rng.choice((1, 50)) + content[end:]
    if what < 0.3:
        return _spliced(content, at + 1, bytes([rng.randrange(0xC0, 0xFF)]))
    number = rng.choice(ODD_NUMBERS) % 2**16
    where = at + rng.choice((2, 4, 5, 5, 7, 7, 9, 10, 11, 12))
    return _spliced(content, where, number.to_bytes(2, "big"))


def png_chunk(content: bytes, rng: random.Random) -> bytes:
    """Change a chunk and mend its checksum, so that the change is believed."""
    chunks = list(_png_chunks(content))
    if not chunks:
        return blind(content, rng)
    at, size = rng.choice([*chunks, chunks[0], chunks[0]])
    body = bytearray(content[at + 4 : at + 8 + size])
    if rng.random() < 0.2 or size == 0:
        return _spliced(content, at, (rng.choice(ODD_NUMBERS) % 2**32).to_bytes(4))
    if rng.random() < 0.6 and size >= 4:
        where = 4 + rng.randrange(size - 3) // 4 * 4
        body[where : where + 4] = (rng.choice(ODD_NUMBERS) % 2**32).to_bytes(4)
    else:
        body[4 + rng.randrange(size)] = rng.randrange(256)
    return _spliced(content, at + 4, bytes(body) + zlib.crc32(body).to_bytes(4))


def _png_chunks(content: bytes) -> Any:
    at = 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        yield at, min(size, len(content) - at - 12)
        at += 12 + size


def _tiff_or_marker(content: bytes, rng: random.Random) -> bytes:
    """Mostly the tags; else the JPEG tables and tiles inside."""
    return (tiff_field if rng.random() < 0.75 else jpeg_marker)(content, rng)


BY_KIND: Mapping[str, Bytes] = {
    "tiff": _tiff_or_marker,
    "dicom": dicom_element,
    "zarr": blind,
    "png": png_chunk,
    "jpeg": jpeg_marker,
    "bytes": blind,
}
"""How a file of a kind is damaged with knowledge of its format."""
