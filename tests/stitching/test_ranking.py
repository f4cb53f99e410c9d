"""Joining and ranking row by row against labelling and sorting the slide at once."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage
from test_seam_law import ranked

from segpipe.errors import StageFailed
from segpipe.labels.records import ANCHOR, AREA
from segpipe.stitching import ranking
from segpipe.stitching.ranking import NucleusLimits, rank_rows
from segpipe.stitching.rows import TileRow
from segpipe.stitching.seams import cut_core
from segpipe.tiling.grid import TileGrid

NO_PAIRS = np.zeros((0, 2), np.int64)


def cut_apart(foreground, tile_px):
    """Label each tile by itself, seeing one pixel beyond its core."""
    grid = TileGrid(shape=foreground.shape, tile_px=tile_px)
    tiles = {}
    for index in range(len(grid)):
        box = grid.read_box(index, 1)
        labels = ndimage.label(foreground[box.slices()])[0].astype(np.int32)
        tiles[index] = cut_core(labels, box, grid.core(index))
    return tiles, grid


def at_once(foreground, limits):
    """Label the whole, drop what is no nucleus, number the rest in raster order."""
    labels, _ = ndimage.label(foreground)
    names = np.zeros(foreground.shape, np.uint32)
    rows = []
    for one in dict.fromkeys(labels[labels > 0].tolist()):
        y, x = np.nonzero(labels == one)
        height, width = np.ptp(y) + 1, np.ptp(x) + 1
        large_enough = len(y) >= limits.min_area_px
        if large_enough and max(height, width) <= limits.max_extent_px:
            rows.append([y[0] * foreground.shape[1] + x[0], len(y)])
            names[labels == one] = len(rows)
    return names, np.array(rows, np.int64).reshape(-1, 2)


@hypothesis_settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 40)),
    density=st.floats(0.1, 0.75),
    tile_px=st.integers(1, 45),
    min_area_px=st.integers(0, 12),
    max_extent_px=st.integers(1, 70),
)
@example(  # it percolates, over thirty rows of tiles
    seed=1, shape=(60, 40), density=0.6, tile_px=2, min_area_px=0, max_extent_px=60
)
@example(  # what is anchored in a row may just reach the end of the next
    seed=2, shape=(60, 40), density=0.5, tile_px=8, min_area_px=0, max_extent_px=8
)
def test_ranking_by_rows_is_ranking_all_at_once(  # noqa: PLR0917
    seed, shape, density, tile_px, min_area_px, max_extent_px
):
    foreground = np.random.default_rng(seed).random(shape) < density
    limits = NucleusLimits(min_area_px=min_area_px, max_extent_px=max_extent_px)
    found, nuclei = ranked(*cut_apart(foreground, tile_px), limits)
    names, wanted = at_once(foreground, limits)
    assert np.array_equal(found, names)
    assert np.array_equal(nuclei[:, [ANCHOR, AREA]], wanted)


@pytest.mark.parametrize("height", [7, 8, 9, 16, 17, 40])
@pytest.mark.parametrize("top", [0, 3, 7, 8])
def test_a_column_is_kept_up_to_the_limit_and_not_beyond(height, top):
    foreground = np.zeros((64, 5), np.bool_)
    foreground[top : top + height, 2] = True
    for tile_px in (1, 3, 8, 64):
        for limit, kept in ((height, 1), (height - 1, 0)):
            limits = NucleusLimits(min_area_px=0, max_extent_px=limit)
            _, nuclei = ranked(*cut_apart(foreground, tile_px), limits)
            assert len(nuclei) == kept


def test_memory_is_that_of_a_few_rows_however_long_the_slide():
    limits = NucleusLimits(min_area_px=0, max_extent_px=20)
    short, long = (_peak_bytes(_ladder(n), limits) for n in (20, 400))
    assert long < 1.2 * short


def _ladder(n_rows, width=500):
    """Yield rows of tiles of ten pixels in which every nucleus crosses into the next.

    The nuclei of a row begin in it and end in the one below.
    """
    x = np.arange(width)
    for row in range(n_rows):
        y = row * 10
        begun = _records(y + 5, x, y + 10)
        ended = _records(y, x, y + 5) if row else begun[:0]
        records = np.concatenate([ended, begun])
        above = np.stack([x + (width if row > 1 else 0), x], axis=1)
        yield TileRow(
            records=records,
            counts=np.array([len(records)]),
            pairs=NO_PAIRS,
            above=above if row else NO_PAIRS,
        )


def _records(y0, x, y1):
    top, bottom = np.full_like(x, y0), np.full_like(x, y1)
    none = np.zeros_like(x)
    columns = [top * 10**6 + x, bottom - top, top, x, bottom, x + 1, none, none]
    return np.stack(columns, axis=1)


def _peak_bytes(rows, limits):
    tracemalloc.start()
    nuclei = sum(len(row.nuclei) for row in rank_rows(rows, limits, tile_px=10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert nuclei % 500 == 0
    assert nuclei > 500
    return peak


def test_ids_count_on_beyond_any_tile():
    limits = NucleusLimits(min_area_px=0, max_extent_px=20)
    names = [r.lookup for r in rank_rows(_ladder(3, width=4), limits, tile_px=10)]
    assert [name.tolist() for name in names] == [
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5, 6, 7, 8],
        [5, 6, 7, 8, 9, 10, 11, 12],
    ]


def test_anchors_beyond_32_bits_rank_as_the_others():
    limits = NucleusLimits(min_area_px=0, max_extent_px=20)
    near = list(rank_rows(_ladder(5), limits, tile_px=10))
    far = list(rank_rows(map(_lifted, _ladder(5)), limits, tile_px=10))
    for one, other in zip(near, far, strict=True):
        assert np.array_equal(one.lookup, other.lookup)
        assert np.array_equal(one.nuclei[:, ANCHOR] + 2**40, other.nuclei[:, ANCHOR])
        assert np.array_equal(one.nuclei[:, AREA:], other.nuclei[:, AREA:])


def _lifted(row):
    records = row.records.copy()
    records[:, ANCHOR] += 2**40
    return TileRow(records=records, counts=row.counts, pairs=row.pairs, above=row.above)


def test_more_nuclei_than_ids_are_refused(monkeypatch):
    monkeypatch.setattr(ranking, "MOST_NUCLEI", 7)
    limits = NucleusLimits(min_area_px=0, max_extent_px=20)
    with pytest.raises(StageFailed, match="8 nuclei so far, more than the 7"):
        list(rank_rows(_ladder(3, width=4), limits, tile_px=10))
