"""The first promise, for the region and the contour decoder."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from synthetic import BOUNDARY, ellipses, noisy
from test_seam_law import KEEP_ALL, ranked, read

from segpipe.stitching.seams import cut_core
from segpipe.tiling.grid import TileGrid

EVERY = pytest.mark.parametrize("decoder", BOUNDARY)


def stitched(maps, decode, decoding, *, tile_px):
    """Decode tile by tile and stitch, in memory."""
    grid = TileGrid(shape=maps[0].shape, tile_px=tile_px)
    tiles = {}
    for index in range(len(grid)):
        box = grid.read_box(index, decoding.support_px + 1)
        labels = decode(read(maps, box, decoding), decoding)
        tiles[index] = cut_core(labels, box, grid.core(index))
    return ranked(tiles, grid, KEEP_ALL)[0]


@EVERY
@hypothesis_settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    tile_px=st.integers(8, 140),
    density=st.floats(0, 0.03),
    noise=st.sampled_from([0.0, 0.05, 0.3, 0.8]),
    blur=st.sampled_from([0.0, 1.0]),
    constants=st.fixed_dictionaries(
        {
            "marker_open_px": st.integers(0, 2),
            "min_marker_px": st.integers(1, 9),
            "edge_cost": st.integers(0, 250),
            "reach_px": st.integers(1, 20),
        }
    ),
    line_px=st.integers(0, 8),
)
@example(
    seed=1,
    shape=(130, 130),
    tile_px=8,
    density=0.03,
    noise=0.3,
    blur=1.0,
    constants={"reach_px": 1, "marker_open_px": 0, "min_marker_px": 1},
    line_px=8,
)
@example(  # a marker joined through the border of a read box
    seed=2,
    shape=(45, 14),
    tile_px=8,
    density=0.015625,
    noise=0.3,
    blur=0.0,
    constants={
        "reach_px": 1,
        "marker_open_px": 1,
        "min_marker_px": 1,
        "edge_cost": 0,
    },
    line_px=0,
)
def test_stitching_tiles_is_decoding_the_whole_bit_for_bit(  # noqa: PLR0917
    decoder, seed, shape, tile_px, density, noise, blur, constants, line_px
):
    rng = np.random.default_rng(seed)
    _, maps_of, decode, decoding = BOUNDARY[decoder]
    decoding = replace(decoding, **constants)
    if decoder == "region":
        decoding = replace(decoding, line_px=line_px)
    labels = ellipses(rng, shape, int(density * shape[0] * shape[1]))
    maps = noisy(maps_of(labels), rng, noise, blur=blur)
    found = stitched(maps, decode, decoding, tile_px=tile_px)
    assert np.array_equal(found, decode(maps, decoding).astype(np.uint32))


@EVERY
def test_one_marker_over_the_whole_slide_is_one_nucleus(decoder):
    n_maps, _, decode, decoding = BOUNDARY[decoder]
    maps = [np.full((200, 230), 255, np.uint8), np.zeros((200, 230), np.uint8)][:n_maps]
    assert np.all(stitched(maps, decode, decoding, tile_px=48) == 1)


def test_a_nucleus_bent_round_a_line_does_not_part_it_in_any_tile():
    prob = np.zeros((90, 60), np.uint8)
    prob[10:80, 10:50] = 255
    prob[20:80, 29:31] = 0
    _, _, decode, decoding = BOUNDARY["region"]
    found = stitched([prob], decode, decoding, tile_px=16)
    assert found.max() == 1
    assert np.all(found[20:80, 29:31] == 1)
