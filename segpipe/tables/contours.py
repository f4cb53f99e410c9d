"""Outlines of nuclei along pixel edges, as valid polygons that rebuild the label map.

At a vertex where two pixels of a nucleus touch only by their corners, the outline turns
so that it passes between the background pixels. A 4-connected nucleus then has one
exterior and separate holes, none of which touches itself; a hole may touch another ring
in single points, which the Simple Features standard allows.

Rings run along increasing x on upper edges: exteriors are counterclockwise in (x, y).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.tables.crops import Crops
from segpipe.tables.schema import Packed


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """Rings of all nuclei, one after the other; of each nucleus the exterior first."""

    vertices: NDArray[np.int64]
    """(V, 2) y, x of the corners in pixels of the label map, the first not repeated."""
    ring_ends: NDArray[np.int64]
    """(R,) vertices up to and with each ring."""
    nucleus_ends: NDArray[np.int64]
    """(N,) rings up to and with each nucleus."""


def trace(crops: Crops) -> Outlines:
    """Trace the outline of each nucleus and of its holes.

    Parameters
    ----------
    crops
        Nuclei, each in one 4-connected piece.
    """
    n_upper_edges = _count_upper_edges(crops.labels, crops.ids, crops.boxes)
    vertices, ring_ends, nucleus_ends = _trace(
        crops.labels, crops.ids, crops.boxes, n_upper_edges
    )
    return Outlines(vertices=vertices, ring_ends=ring_ends, nucleus_ends=nucleus_ends)


def to_wkb(outlines: Outlines, origin: tuple[int, int], downsample: float) -> Packed:
    """Write outlines as polygons in Well-Known Binary.

    Parameters
    ----------
    outlines
        Rings in pixels of a label map.
    origin
        Row and column of the label map's corner on the canvas.
    downsample
        Level-0 pixels per canvas pixel.

    Returns
    -------
    Packed
        One polygon a nucleus: x before y, level-0 pixels, little-endian.

    References
    ----------
    OGC 06-103r4, Simple Feature Access, part 1, section 8.2.
    """
    points = (outlines.vertices + np.array(origin))[:, ::-1] * downsample
    points = np.ascontiguousarray(points, "<f8")
    offsets = _wkb_offsets(outlines)
    buffer = _write_wkb(
        points.view(np.uint8), outlines.ring_ends, outlines.nucleus_ends, offsets
    )
    return Packed(buffer=buffer, offsets=offsets)


_WKB_HEADER_BYTES = 9
_WKB_COUNT_BYTES = 4
_WKB_POINT_BYTES = 16


def _wkb_offsets(outlines: Outlines) -> NDArray[np.int64]:
    """Return (N + 1,) bytes before each polygon.

    A polygon has a header, a count for each ring, and one point more than corners.
    """
    n_rings = np.append(0, outlines.nucleus_ends)
    n_vertices = np.append(0, outlines.ring_ends)[n_rings]
    offsets: NDArray[np.int64] = (
        _WKB_HEADER_BYTES * np.arange(n_rings.size)
        + _WKB_COUNT_BYTES * n_rings
        + _WKB_POINT_BYTES * (n_vertices + n_rings)
    )
    return offsets


@njit(cache=True, nogil=True)
def _write_wkb(
    points: NDArray[np.uint8],
    ring_ends: NDArray[np.int64],
    nucleus_ends: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Lay out all polygons; ``points`` is (V, 16), the bytes of x and y."""
    buffer = np.empty(offsets[-1], np.uint8)
    ring = start = 0
    for row in range(nucleus_ends.size):
        at = offsets[row]
        buffer[at] = 1
        _write_count(buffer, at + 1, 3)
        _write_count(buffer, at + 5, nucleus_ends[row] - ring)
        at += _WKB_HEADER_BYTES
        while ring < nucleus_ends[row]:
            stop = ring_ends[ring]
            _write_count(buffer, at, stop - start + 1)
            at += _WKB_COUNT_BYTES
            for vertex in range(start, stop + 1):
                source = vertex if vertex < stop else start
                for byte in range(_WKB_POINT_BYTES):
                    buffer[at + byte] = points[source, byte]
                at += _WKB_POINT_BYTES
            start = stop
            ring += 1
    return buffer


@njit(cache=True, nogil=True)
def _write_count(buffer: NDArray[np.uint8], at: int, count: int) -> None:
    for byte in range(4):
        buffer[at + byte] = (count >> (8 * byte)) & 255


@njit(cache=True, nogil=True)
def _count_upper_edges(
    labels: NDArray[np.uint32], ids: NDArray[np.uint32], boxes: NDArray[np.int64]
) -> int:
    """Count upper edges: a ring has at least one, and at most four corners for each."""
    count = 0
    for row in range(ids.size):
        y0, x0, y1, x1 = boxes[row]
        for y in range(y0, y1):
            for x in range(x0, x1):
                if labels[y, x] == ids[row]:
                    count += y == y0 or labels[y - 1, x] != ids[row]
    return count


@njit(cache=True, nogil=True)
def _trace(
    labels: NDArray[np.uint32],
    ids: NDArray[np.uint32],
    boxes: NDArray[np.int64],
    n_upper_edges: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Walk every ring from the first of its upper edges in raster order."""
    vertices = np.empty((4 * n_upper_edges, 2), np.int64)
    ring_ends = np.empty(n_upper_edges, np.int64)
    nucleus_ends = np.empty(ids.size, np.int64)
    n_vertices = n_rings = 0
    for row in range(ids.size):
        y0, x0 = boxes[row, 0], boxes[row, 1]
        mask = _padded_mask(labels, ids[row], boxes[row])
        for y in range(1, mask.shape[0]):
            for x in range(1, mask.shape[1]):
                if mask[y, x] == _OWN and mask[y - 1, x] == 0:
                    ring = vertices[n_vertices:]
                    size = _walk(mask, y, x, ring)
                    ring[:size, 0] += y0 - 1
                    ring[:size, 1] += x0 - 1
                    n_vertices += size
                    ring_ends[n_rings] = n_vertices
                    n_rings += 1
        nucleus_ends[row] = n_rings
    return vertices[:n_vertices].copy(), ring_ends[:n_rings].copy(), nucleus_ends


_OWN = 1
_WALKED = 2


@njit(cache=True, nogil=True)
def _padded_mask(
    labels: NDArray[np.uint32], own: np.uint32, box: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return the nucleus in its box with a border of background."""
    y0, x0, y1, x1 = box
    mask = np.zeros((y1 - y0 + 2, x1 - x0 + 2), np.uint8)
    for y in range(y0, y1):
        for x in range(x0, x1):
            if labels[y, x] == own:
                mask[y - y0 + 1, x - x0 + 1] = _OWN
    return mask


@njit(cache=True, nogil=True)
def _walk(
    mask: NDArray[np.uint8], start_y: int, start_x: int, ring: NDArray[np.int64]
) -> int:
    """Walk the ring over the upper edge of a pixel; return how many corners it has.

    One stands at a vertex, going along (dy, dx) with the nucleus to the right. Of the
    two pixels ahead, turn left if the left one is the nucleus's, go on if only the
    right one is, turn right if neither is. Pixels whose upper edge was walked are
    marked in the mask.
    """
    y, x = start_y, start_x
    dy, dx = 0, 1
    size = 0
    while True:
        if dx == 1:
            mask[y, x] = _WALKED
        y, x = y + dy, x + dx
        right_y, right_x = y + (dy + dx - 1) // 2, x + (dx - dy - 1) // 2
        if mask[right_y - dx, right_x + dy]:
            turned_y, turned_x = -dx, dy
        elif mask[right_y, right_x]:
            turned_y, turned_x = dy, dx
        else:
            turned_y, turned_x = dx, -dy
        if turned_y != dy or turned_x != dx:
            ring[size] = y, x
            size += 1
        dy, dx = turned_y, turned_x
        if y == start_y and x == start_x and dx == 1:
            return size
