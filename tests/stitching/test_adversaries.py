"""Scenes that stitching gets wrong elsewhere, each by name, for every decoder.

Tiles are 32 px; the scenes are built round the seam at 32 and the corner at (32, 32).
Support is kept short (reach 12 px), so that cuts do reach into read boxes.
"""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import BOUNDARY, ellipses, maps_of
from test_seam_law import KEEP_ALL, ranked, read

from segpipe.decoding.hv import HVDecoding, decode_hv
from segpipe.stitching.seams import cut_core
from segpipe.tiling.grid import TileGrid

TILE_PX = 32
REACH_PX = 12


def disc(shape, y, x, radius):
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (cols - x) ** 2 <= radius**2


def painted(shape, *nuclei):
    """Paint masks over each other; who comes first keeps a pixel."""
    labels = np.zeros(shape, np.int32)
    for label, mask in enumerate(nuclei, 1):
        labels[mask & (labels == 0)] = label
    return labels


def box(shape, y0, x0, y1, x1):
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def clump():
    """Many touching nuclei, a clump of 5 by 4 tiles: far larger than a read box."""
    labels = np.zeros((180, 150), np.int32)
    centres = [(y, x) for y in range(12, 172, 13) for x in range(12, 142, 13)]
    for label, (y, x) in enumerate(centres, 1):
        labels[disc(labels.shape, y, x, 7) & (labels == 0)] = label
    return labels


SQUARE = (96, 96)
SCENES = {
    "a nucleus on a seam": painted(SQUARE, disc(SQUARE, 50, 32, 8)),
    "a nucleus on a four-corner": painted(SQUARE, disc(SQUARE, 32, 32, 9)),
    "two that touch exactly at a seam": painted(
        SQUARE, box(SQUARE, 40, 20, 54, 32), box(SQUARE, 40, 32, 54, 44)
    ),
    "four that touch exactly at a corner": painted(
        SQUARE,
        box(SQUARE, 20, 20, 32, 32),
        box(SQUARE, 20, 32, 32, 44),
        box(SQUARE, 32, 20, 44, 32),
        box(SQUARE, 32, 32, 44, 44),
    ),
    "a clump larger than the read box": clump(),
    "foreground that percolates": ellipses(np.random.default_rng(3), (160, 160), 700),
    "a nucleus larger than a tile": painted((130, 130), disc((130, 130), 64, 66, 55)),
    "one pixel": painted(SQUARE, box(SQUARE, 31, 32, 32, 33)),
    "an empty slide": painted(SQUARE),
    "a full slide": painted(SQUARE, box(SQUARE, 0, 0, 96, 96)),
    "a slide thinner than a tile": painted(
        (200, 5), box((200, 5), 25, 0, 40, 5), box((200, 5), 90, 1, 110, 4)
    ),
    "a slide of one pixel": painted((1, 1), box((1, 1), 0, 0, 1, 1)),
    "ragged edges": painted(
        (67, 71), disc((67, 71), 64, 66, 8), disc((67, 71), 65, 30, 6)
    ),
    "a ring round a corner": painted(
        SQUARE, disc(SQUARE, 32, 32, 14) & ~disc(SQUARE, 32, 32, 8)
    ),
}


def decoders():
    """Yield each decoder's name, its maps of labels, and decoding of maps."""
    hv = HVDecoding(smooth_px=0, min_marker_px=1, marker_open_px=0, reach_px=REACH_PX)

    def decode(maps):
        return decode_hv(*maps, decoding=hv)

    yield "hv", maps_of, decode, hv
    for name, (_, maps, decode_by, constants) in BOUNDARY.items():
        short = replace(constants, reach_px=REACH_PX, min_marker_px=1)

        def decode_boundary(maps, decode_by=decode_by, short=short):
            return decode_by(maps, short)

        def scaled(labels, maps=maps):
            return [np.uint8(255) * plane.astype(np.uint8) for plane in maps(labels)]

        yield name, scaled, decode_boundary, short


DECODERS = list(decoders())


@pytest.fixture(params=DECODERS, ids=[row[0] for row in DECODERS])
def decoder(request):
    return request.param[1:]


@pytest.fixture(params=SCENES)
def scene(request):
    return SCENES[request.param]


def in_tiles(maps, decode, decoding, *, halo_px=0, order=None):
    """Decode tile by tile; a halo below what the support needs is raised to it."""
    grid = TileGrid(shape=maps[0].shape, tile_px=TILE_PX)
    tiles = {}
    for index in range(len(grid)) if order is None else order(len(grid)):
        read_box = grid.read_box(index, max(halo_px, decoding.support_px + 1))
        labels = decode(read(maps, read_box, decoding))
        tiles[index] = cut_core(labels, read_box, grid.core(index))
    return ranked(dict(sorted(tiles.items())), grid, KEEP_ALL)[0]


@pytest.mark.parametrize("halo_px", [0, 3, 40])
def test_a_scene_in_tiles_is_the_scene_at_once(decoder, scene, halo_px):
    maps_of_labels, decode, decoding = decoder
    maps = maps_of_labels(scene)
    found = in_tiles(maps, decode, decoding, halo_px=halo_px)
    assert np.array_equal(found, decode(maps).astype(np.uint32))


def test_the_order_of_tiles_is_nothing(decoder, scene):
    maps_of_labels, decode, decoding = decoder
    maps = maps_of_labels(scene)
    backwards = in_tiles(maps, decode, decoding, order=lambda n: range(n - 1, -1, -1))
    assert np.array_equal(backwards, in_tiles(maps, decode, decoding))


@pytest.mark.parametrize(
    ("scene_name", "n_nuclei"),
    [
        ("a nucleus on a seam", 1),
        ("a nucleus on a four-corner", 1),
        ("two that touch exactly at a seam", 2),
        ("four that touch exactly at a corner", 4),
        ("a clump larger than the read box", 130),
        ("an empty slide", 0),
        ("one pixel", 1),
    ],
)
def test_exact_hv_maps_give_as_many_nuclei_as_there_are(scene_name, n_nuclei):
    _, maps_of_labels, decode, decoding = DECODERS[0]
    found = in_tiles(maps_of_labels(SCENES[scene_name]), decode, decoding)
    assert found.max() == n_nuclei


def test_a_line_between_two_doesnt_move_when_a_third_is_cut():
    """Cutting the slide beside a clump leaves what lies farther than the support."""
    _, maps_of_labels, decode, decoding = DECODERS[0]
    prob, hv = maps_of_labels(SCENES["a clump larger than the read box"])
    cut = 100
    far = slice(0, cut - decoding.support_px)
    whole = decode([prob, hv])[:, far]
    left = decode([prob[:, :cut], hv[..., :cut]])[:, far]
    assert decoding.support_px < cut / 2
    inner_lines = (np.diff(whole, axis=1) != 0).sum()
    assert inner_lines > 500
    assert np.array_equal(np.diff(whole, axis=1) != 0, np.diff(left, axis=1) != 0)
    assert np.array_equal(np.diff(whole, axis=0) != 0, np.diff(left, axis=0) != 0)


@pytest.mark.parametrize("decoding", [HVDecoding(marker_open_px=0), HVDecoding()])
@pytest.mark.parametrize("turned", range(4))
def test_what_only_a_cut_lets_through_joins_nothing(decoding, turned):
    """Two strands that run out of the read box, and a wall just beyond its border."""
    reach = decoding.support_px + 1
    length = TILE_PX * (2 + 2 * reach // TILE_PX)
    prob = np.zeros((TILE_PX, length), np.uint8)
    hv = np.zeros((2, TILE_PX, length), np.int8)
    prob[4:10, 4:-4] = prob[20:26, 4:-4] = 255
    cut = TILE_PX + reach
    prob[10:20, cut - 2 : cut + 2] = 255
    hv[0, :, :cut], hv[0, :, cut:] = 100, -100
    prob = np.ascontiguousarray(np.rot90(prob, turned))
    hv = np.ascontiguousarray(np.rot90(_turned(hv, turned), turned, axes=(1, 2)))

    def decode(maps):
        return decode_hv(*maps, decoding=decoding)

    whole = decode([prob, hv])
    assert whole.max() == 4
    assert np.array_equal(in_tiles([prob, hv], decode, decoding), whole)


def _turned(hv, turned):
    """Offsets of an image that is turned by so many quarters, before it is."""
    for _ in range(turned):
        hv = np.stack([hv[1], -hv[0]])
    return hv
