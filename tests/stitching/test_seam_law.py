"""The first promise: decoding tile by tile is decoding the slide at once."""

from dataclasses import replace

import numpy as np
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from synthetic import ellipses, maps_of

from segpipe.decoding.cuts import blanked
from segpipe.decoding.hv import HVDecoding, decode_hv
from segpipe.errors import StageFailed
from segpipe.geometry import Box
from segpipe.labels.probable import probable_ones
from segpipe.labels.records import (
    ANCHOR,
    AREA,
    PROB,
    XMAX,
    XMIN,
    YMAX,
    YMIN,
    instance_records,
)
from segpipe.stitching.blocks import BLOCK_PX, Blocks
from segpipe.stitching.joining import NucleusLimits, join
from segpipe.stitching.ranking import rank_band
from segpipe.stitching.seams import TileRecords, cut_core
from segpipe.tiling.grid import TileGrid

KEEP_ALL = NucleusLimits(min_area_px=0, max_extent_px=10**6)


def read(maps, box, decoding):
    """Return the maps of a read box as a tile is given them."""
    prob, *others = (plane[(..., *box.slices())] for plane in maps)
    whole = Box.of_shape(maps[0].shape)
    return [blanked(prob, box, whole, decoding.blind_px), *others]


def stitched(prob, hv, decoding, *, tile_px, halo_px, limits=KEEP_ALL, order=None):
    """Decode tile by tile and stitch, in memory."""
    grid = TileGrid(shape=prob.shape, tile_px=tile_px)
    tiles = {}
    for index in order if order is not None else range(len(grid)):
        box = grid.read_box(index, halo_px)
        labels = decode_hv(*read([prob, hv], box, decoding), decoding=decoding)
        tiles[index] = cut_core(labels, box, grid.core(index))
    return ranked(dict(sorted(tiles.items())), grid, limits, prob=prob)


def ranked(tiles, grid, limits, *, prob=None, least_px=BLOCK_PX):
    """Join and rank the cut tiles as the stitch stage does, and paint the nuclei."""
    prob = np.zeros(grid.shape, np.uint8) if prob is None else prob
    records = {i: records_of(tile, grid, i, prob) for i, tile in tiles.items()}
    reach_px = min(limits.max_extent_px, max(grid.shape))
    blocks = Blocks(tiles=grid, reach_px=reach_px, least_px=least_px)
    found, ids = numbered(records, blocks, limits)
    labels = np.zeros(grid.shape, np.uint32)
    for i, tile in tiles.items():
        names = np.zeros(tile.n_labels + 1, np.uint32)
        for block in blocks.that_name(i):
            found[block].names_in(i, ids[block], names)
        labels[grid.core(i).slices()] = names[tile.core]
    order = np.argsort(np.concatenate([*ids.values()]))
    return labels, np.concatenate([one.nuclei for one in found.values()])[order]


def records_of(tile, grid, index, prob):
    """Return what the label stage would leave of a cut tile."""
    core, width = grid.core(index), grid.shape[1]
    seen = prob[core.slices()]
    records = instance_records(tile.core, seen, core, width, tile.n_labels)
    return TileRecords.of(tile, records)


def numbered(records, blocks, limits):
    """Return the nuclei of each block and their ids."""
    found, ids, n_before = {}, {}, 0
    for row in range(blocks.grid.n_rows):
        band = blocks.band(row)
        for block in band:
            around = {i: records[i] for i in blocks.tiles_around(block)}
            inside = blocks.grid.core(block)
            found[block] = join(around, blocks.tiles, inside, limits)
        anchors = [found[block].nuclei[:, ANCHOR] for block in band]
        ranks = rank_band(lambda a=anchors: a, blocks.lines(row), n_before=n_before)
        ids.update(zip(band, ranks, strict=True))
        n_before += sum(map(len, anchors))
    return found, ids


def whole(prob, hv, decoding):
    return decode_hv(prob, hv, decoding=decoding).astype(np.uint32)


@hypothesis_settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    tile_px=st.integers(8, 160),
    density=st.floats(0, 0.03),
    noise=st.sampled_from([0.0, 0.05, 0.3, 0.8]),
    blur=st.sampled_from([0.0, 1.0, 2.0]),
    decoding=st.builds(
        HVDecoding,
        smooth_px=st.integers(0, 2),
        slope_px=st.integers(1, 4),
        marker_open_px=st.integers(0, 2),
        min_marker_px=st.integers(1, 9),
        edge_cost=st.integers(0, 250),
        reach_px=st.integers(1, 20),
        marker_core=st.floats(0.3, 2.0),
    ),
    min_prob=st.sampled_from([0.0, 0.6, 0.7, 0.8, 0.9]),
)
@example(
    seed=1,
    shape=(150, 150),
    tile_px=8,
    density=0.03,
    noise=0.3,
    blur=1.0,
    decoding=HVDecoding(),
    min_prob=0.7,
)
def test_stitching_tiles_is_decoding_the_whole_bit_for_bit(  # noqa: PLR0917
    seed, shape, tile_px, density, noise, blur, decoding, min_prob
):
    rng = np.random.default_rng(seed)
    labels = ellipses(rng, shape, int(density * shape[0] * shape[1]))
    prob, hv = maps_of(labels, rng, noise, blur)
    halo_px = decoding.support_px + 1
    limits = replace(KEEP_ALL, min_prob=min_prob)
    found, _ = stitched(
        prob, hv, decoding, tile_px=tile_px, halo_px=halo_px, limits=limits
    )
    at_once = decode_hv(prob, hv, decoding=decoding)
    assert np.array_equal(found, probable_ones(at_once, prob, min_prob))


def test_foreground_that_percolates_is_stitched_exactly(rng):
    prob = np.full((300, 280), 255, np.uint8)
    hv = rng.integers(-127, 128, (2, 300, 280)).astype(np.int8)
    decoding = HVDecoding()
    found, _ = stitched(prob, hv, decoding, tile_px=64, halo_px=decoding.support_px + 1)
    assert np.array_equal(found, whole(prob, hv, decoding))


def test_one_marker_over_the_whole_slide_is_one_nucleus():
    prob = np.full((200, 230), 255, np.uint8)
    hv = np.zeros((2, 200, 230), np.int8)
    decoding = HVDecoding()
    found, nuclei = stitched(
        prob, hv, decoding, tile_px=48, halo_px=decoding.support_px + 1
    )
    assert len(nuclei) == 1
    assert np.all(found == 1)


def test_the_order_of_tiles_is_nothing(rng):
    labels = ellipses(rng, (160, 160), 200)
    prob, hv = maps_of(labels, rng, 0.2, 1.0)
    decoding = HVDecoding()
    halo_px = decoding.support_px + 1
    straight, _ = stitched(prob, hv, decoding, tile_px=40, halo_px=halo_px)
    shuffled, _ = stitched(
        prob, hv, decoding, tile_px=40, halo_px=halo_px, order=rng.permutation(16)
    )
    assert np.array_equal(straight, shuffled)


def test_limits_judge_whole_nuclei_not_their_parts(rng):
    labels = ellipses(rng, (160, 160), 120)
    prob, hv = maps_of(labels, rng, 0.1, 1.0)
    decoding = HVDecoding()
    halo_px = decoding.support_px + 1
    limits = NucleusLimits(min_area_px=60, max_extent_px=18, min_prob=0.84)
    fine, one = stitched(prob, hv, decoding, tile_px=16, halo_px=halo_px, limits=limits)
    coarse, other = stitched(
        prob, hv, decoding, tile_px=160, halo_px=halo_px, limits=limits
    )
    assert np.array_equal(fine, coarse)
    assert np.array_equal(one, other)
    _, every = stitched(prob, hv, decoding, tile_px=160, halo_px=halo_px)
    extent = (every[:, [YMAX, XMAX]] - every[:, [YMIN, XMIN]]).max(axis=1)
    area, prob_sum = every[:, AREA], every[:, PROB]
    fits = (area >= 60) & (extent <= 18)
    probable = prob_sum >= 0.84 * 255 * area
    assert (area < 60).any()
    assert ((area >= 60) & (extent > 18)).any()
    assert 0 < (fits & probable).sum() < fits.sum()
    assert len(one) == (fits & probable).sum()


def test_a_halo_below_the_support_is_not_exact_so_the_support_is_not_idle(rng):
    labels = ellipses(rng, (160, 160), 200)
    prob, hv = maps_of(labels, rng, 0.3, 1.0)
    decoding = HVDecoding()
    try:
        found, _ = stitched(prob, hv, decoding, tile_px=16, halo_px=1)
    except StageFailed:
        return  # the two sides of a seam disagree, and say so
    assert not np.array_equal(found, whole(prob, hv, decoding))


def test_nuclei_keep_their_pixels_and_anchors_through_ranking(rng):
    labels = ellipses(rng, (120, 120), 60)
    prob, hv = maps_of(labels, rng, 0.1, 1.0)
    decoding = HVDecoding()
    found, nuclei = stitched(
        prob, hv, decoding, tile_px=32, halo_px=decoding.support_px + 1
    )
    flat = found.ravel()
    areas = np.bincount(flat)[1:]
    anchors = [np.flatnonzero(flat == i)[0] for i in range(1, flat.max() + 1)]
    assert np.array_equal(nuclei[:, AREA], areas)
    assert np.array_equal(nuclei[:, ANCHOR], anchors)
    assert np.all(np.diff(anchors) > 0)


def test_a_core_takes_one_column_and_row_beyond_it():
    labels = np.arange(1, 26, dtype=np.int32).reshape(5, 5)
    tile = cut_core(labels, Box(0, 0, 5, 5), Box(1, 1, 3, 4))
    assert tile.core.shape == (2, 3)
    assert tile.east.shape == (2,)
    assert tile.south.shape == (3,)
    assert not tile.east.any()
