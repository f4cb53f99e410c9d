"""Joining and ranking by blocks against labelling and sorting the slide at once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage
from test_seam_law import ranked

from segpipe.errors import StageFailed
from segpipe.geometry import Box
from segpipe.labels.records import ANCHOR, AREA, PROB
from segpipe.stitching import ranking
from segpipe.stitching.blocks import Blocks
from segpipe.stitching.joining import NucleusLimits
from segpipe.stitching.ranking import rank_band
from segpipe.stitching.seams import cut_core
from segpipe.tiling.grid import TileGrid


def cut_apart(foreground, tile_px):
    """Label each tile by itself, seeing one pixel beyond its core."""
    grid = TileGrid(shape=foreground.shape, tile_px=tile_px)
    tiles = {}
    for index in range(len(grid)):
        box = grid.read_box(index, 1)
        labels = ndimage.label(foreground[box.slices()])[0].astype(np.int32)
        tiles[index] = cut_core(labels, box, grid.core(index))
    return tiles, grid


def at_once(foreground, prob, limits):
    """Label the whole, drop what is no nucleus, number the rest in raster order."""
    labels, _ = ndimage.label(foreground)
    names = np.zeros(foreground.shape, np.uint32)
    rows = []
    for one in dict.fromkeys(labels[labels > 0].tolist()):
        y, x = np.nonzero(labels == one)
        height, width = np.ptp(y) + 1, np.ptp(x) + 1
        fits = len(y) >= limits.min_area_px
        fits &= max(height, width) <= limits.max_extent_px
        if fits and prob[y, x].mean() >= 255 * limits.min_prob:
            first = y[0] * foreground.shape[1] + x[0]
            rows.append([first, len(y), prob[y, x].sum()])
            names[labels == one] = len(rows)
    return names, np.array(rows, np.int64).reshape(-1, 3)


@hypothesis_settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 40)),
    density=st.floats(0.1, 0.75),
    tile_px=st.integers(1, 45),
    min_area_px=st.integers(0, 12),
    max_extent_px=st.integers(1, 70),
    least_px=st.integers(1, 30),
    min_prob=st.sampled_from([0.0, 0.45, 0.55]),
)
@example(  # it percolates, over thirty rows of tiles
    seed=1,
    shape=(60, 40),
    density=0.6,
    tile_px=2,
    min_area_px=0,
    max_extent_px=9,
    least_px=1,
    min_prob=0.5,
)
@example(  # what is anchored in a block may just reach the end of the next
    seed=2,
    shape=(60, 40),
    density=0.5,
    tile_px=8,
    min_area_px=0,
    max_extent_px=8,
    least_px=8,
    min_prob=0.0,
)
def test_ranking_by_blocks_is_ranking_all_at_once(  # noqa: PLR0917
    seed, shape, density, tile_px, min_area_px, max_extent_px, least_px, min_prob
):
    rng = np.random.default_rng(seed)
    foreground = rng.random(shape) < density
    prob = rng.integers(0, 256, shape, np.uint8)
    limits = NucleusLimits(
        min_area_px=min_area_px, max_extent_px=max_extent_px, min_prob=min_prob
    )
    apart = cut_apart(foreground, tile_px)
    found, nuclei = ranked(*apart, limits, prob=prob, least_px=least_px)
    names, wanted = at_once(foreground, prob, limits)
    assert np.array_equal(found, names)
    assert np.array_equal(nuclei[:, [ANCHOR, AREA, PROB]], wanted)


@pytest.mark.parametrize("lying", [False, True])
@pytest.mark.parametrize("length", [7, 8, 9, 16, 17, 40])
@pytest.mark.parametrize("begin", [0, 3, 7, 8])
def test_a_bar_is_kept_up_to_the_limit_and_not_beyond(length, begin, lying):
    foreground = np.zeros((64, 5), np.bool_)
    foreground[begin : begin + length, 2] = True
    if lying:
        foreground = foreground.T
    for tile_px in (1, 3, 8, 64):
        for limit, kept in ((length, 1), (length - 1, 0)):
            limits = NucleusLimits(min_area_px=0, max_extent_px=limit)
            _, nuclei = ranked(*cut_apart(foreground, tile_px), limits, least_px=1)
            assert len(nuclei) == kept


def test_what_comes_back_into_a_block_from_outside_its_window_is_one():
    """Two arms of a U that its window doesn't see joined: too large, both of them."""
    foreground = np.zeros((40, 40), np.bool_)
    foreground[2:30, [4, 7]] = True
    foreground[29, 4:8] = True
    for max_extent_px in (3, 4, 8, 16, 26, 27, 28, 29, 39):
        limits = NucleusLimits(min_area_px=0, max_extent_px=max_extent_px)
        _, nuclei = ranked(*cut_apart(foreground, 2), limits, least_px=1)
        assert len(nuclei) == (max_extent_px >= 28)


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile_px=st.integers(1, 40),
    reach_px=st.integers(1, 100),
    least_px=st.integers(1, 100),
)
def test_a_block_sees_a_nucleus_beyond_itself_and_no_more_than_a_tile_more(
    shape, tile_px, reach_px, least_px
):
    tiles = TileGrid(shape=shape, tile_px=tile_px)
    blocks = Blocks(tiles=tiles, reach_px=reach_px, least_px=least_px)
    canvas, seen = Box.of_shape(shape), set()
    for block in range(len(blocks.grid)):
        core, around = blocks.grid.core(block), blocks.tiles_around(block)
        cores = [tiles.core(tile) for tile in around]
        window = Box(
            min(c.y0 for c in cores),
            min(c.x0 for c in cores),
            max(c.y1 for c in cores),
            max(c.x1 for c in cores),
        )
        assert set(around) == set(tiles.overlapping(window))
        needed = Box(
            core.y0 - 1, core.x0 - reach_px, core.y1 + reach_px, core.x1 + reach_px
        )
        assert window.contains(needed.intersection(canvas))
        assert core.grown(reach_px + tile_px).contains(window)
        assert core.height <= max(least_px, reach_px, tile_px) + tile_px
        seen.update(blocks.tiles_in(block))
        for tile in around:
            if tiles.core(tile).y1 > core.y0:
                assert block in blocks.that_name(tile)
    assert seen == set(range(len(tiles)))


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 20)),
    cuts=st.lists(st.integers(0, 20), max_size=4),
    n_before=st.integers(0, 2**31),
    lift=st.sampled_from([0, 2**36]),
    seed=st.integers(0, 999),
)
def test_ids_ascend_with_the_anchors_whatever_the_blocks(
    shape, cuts, n_before, lift, seed
):
    height, width = shape
    rng = np.random.default_rng(seed)
    pixels = np.flatnonzero(rng.random(height * width) < 0.3).astype(np.int64)
    columns = pixels % width
    edges = [0, *sorted(min(cut, width) for cut in cuts), width]
    blocks = [
        pixels[(columns >= x0) & (columns < x1)] + lift * width
        for x0, x1 in pairwise(edges)
    ]
    band = Box(lift, 0, lift + height, width)
    ids = list(rank_band(lambda: blocks, band, n_before=n_before))
    together = np.concatenate(blocks)
    assert [len(one) for one in ids] == [len(one) for one in blocks]
    rank = np.argsort(np.argsort(together)) + n_before + 1
    assert np.array_equal(np.concatenate(ids), rank)


def test_more_nuclei_than_ids_are_refused(monkeypatch):
    monkeypatch.setattr(ranking, "MOST_NUCLEI", 7)
    anchors = np.arange(5, dtype=np.int64)
    band = Box(0, 0, 1, 5)
    assert [list(ids) for ids in rank_band(lambda: [anchors], band, n_before=2)] == [
        [3, 4, 5, 6, 7]
    ]
    with pytest.raises(StageFailed, match="8 nuclei so far, more than the 7"):
        list(rank_band(lambda: [anchors], band, n_before=3))
