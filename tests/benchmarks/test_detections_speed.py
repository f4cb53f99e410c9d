"""What making nuclei of detections costs each, beside painting them in this process."""

import time

import numpy as np
import pytest

from segpipe.decoding.masks import paint
from segpipe.geometry import Box
from segpipe.labels.detections import Detections, Unpacked, concatenated
from segpipe.labels.masks import one_piece
from segpipe.stitching.contested import nuclei_in
from segpipe.stitching.ownership import Ownership, claims_of
from segpipe.tiling.grid import TileGrid

CELL, RADIUS, FIELD = 22, 9.5, 24
"""A nucleus in each cell, in a field a little larger; neighbours overlap a little."""


def field_of(lattice):
    """Return the true places of nuclei, in no order that a grid would have."""
    rng = np.random.default_rng(3)
    corner = np.stack(np.mgrid[: lattice.shape[0] : CELL, : lattice.shape[1] : CELL])
    return corner.reshape(2, -1).T + rng.integers(-2, 3, (corner[0].size, 2))


def said_of(places, window, ownership):
    """Return what a window says: discs of its own size and place, cut at its border."""
    rng = np.random.default_rng([7, window])
    core = ownership.lattice.core(window)
    view = core.grown(ownership.margin_px)
    near = (places >= [view.y0 - FIELD, view.x0 - FIELD]) & (
        places < [view.y1, view.x1]
    )
    at = places[near.all(axis=1)] + rng.integers(-1, 2, (near.all(axis=1).sum(), 2))
    radius = RADIUS + rng.uniform(-1, 1, (len(at), 1, 1))
    y, x = np.mgrid[:FIELD, :FIELD] - (FIELD - 1) / 2
    pixels = ((y**2 + x**2) <= radius**2).astype(np.uint8).ravel()
    boxes = np.concatenate([at, at + FIELD], axis=1)
    masks = Unpacked(boxes, pixels, FIELD**2 * np.arange(len(at) + 1))
    scores = rng.integers(100, 256, len(at)).astype(np.uint8)
    said = Detections.packed(masks, scores, np.ones(len(at), np.uint8))
    return one_piece(said, view)[0]


@pytest.fixture(scope="module")
def slide():
    lattice = TileGrid(shape=(3072, 3072), tile_px=512)
    run = np.ones(len(lattice), np.bool_)
    ownership = Ownership(lattice=lattice, margin_px=64, run=run)
    places = field_of(lattice)
    said = {w: said_of(places, w, ownership) for w in range(len(lattice))}
    return ownership, places, said


def shortest(function, *args, times=5):
    spans = []
    for _ in range(times):
        started = time.perf_counter()
        function(*args)
        spans.append(time.perf_counter() - started)
    return min(spans)


def test_nuclei_of_a_tile_beside_painting_them(benchmark, slide):
    ownership, places, said = slide
    claims = {w: claims_of(said[w], w, ownership) for w in said}
    tile = Box(1024, 1024, 2049, 2049)
    parts = [claims[w] for w in ownership.windows_of(tile)]
    nuclei = benchmark(nuclei_in, tile, parts, ownership)
    painted = paint(nuclei, tile)
    centre = places + FIELD // 2
    inside = np.all((centre >= tile.y0 + 12) & (centre < tile.y1 - 12), axis=1)
    assert len(nuclei) == len(painted.masks)
    assert inside.sum() < len(nuclei) < 1.15 * inside.sum()
    assert len(nuclei) < 0.75 * sum(map(len, parts))
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.min
        n_read, n_said = sum(map(len, parts)), len(said[14])
        painting = shortest(paint, nuclei, tile)
        claiming = shortest(claims_of, said[14], 14, ownership)
        bytes_each = len(concatenated(list(said.values())).bits) / sum(
            map(len, said.values())
        )
        benchmark.extra_info |= {
            "nuclei": len(nuclei),
            "claims_read": n_read,
            "us_per_claim_read": round(1e6 * seconds / n_read, 2),
            "us_per_nucleus": round(1e6 * seconds / len(nuclei), 2),
            "us_per_nucleus_painting": round(1e6 * painting / len(nuclei), 2),
            "times_painting": round(seconds / painting, 1),
            "us_per_detection_claiming": round(1e6 * claiming / n_said, 2),
            "bitmap_bytes_each": round(bytes_each),
        }
        print(f"\n{benchmark.extra_info}")  # noqa: T201 - what a benchmark is for
