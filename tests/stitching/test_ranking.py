"""Joining and ranking by rows against doing it all at once, one instance at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import StageFailed
from segpipe.stitching import ranking
from segpipe.stitching.joining import join, parts_of
from segpipe.stitching.ranking import NucleusLimits, rank_rows

WIDTH = 1000
ROW_PX = 10


def plainly(records, pairs, limits):
    """Merge by walking from part to part; return nuclei and names."""
    group = list(range(len(records)))
    for one, other in pairs:
        old, new = group[other], group[one]
        group = [new if g == old else g for g in group]
    wholes = {}
    for row, key in enumerate(group):
        anchor, area, y0, x0, y1, x1 = records[row].tolist()
        if key in wholes:
            a, n, top, left, b, r = wholes[key]
            anchor, area = min(a, anchor), n + area
            y0, x0, y1, x1 = min(top, y0), min(left, x0), max(b, y1), max(r, x1)
        wholes[key] = (anchor, area, y0, x0, y1, x1)
    kept = sorted(
        (whole, key)
        for key, whole in wholes.items()
        if whole[1] >= limits.min_area_px
        and max(whole[4] - whole[2], whole[5] - whole[3]) <= limits.max_extent_px
    )
    name = {key: rank for rank, (_, key) in enumerate(kept, 1)}
    nuclei = np.array([whole for whole, _ in kept], np.int64).reshape(-1, 6)
    return nuclei, np.array([name.get(key, 0) for key in group], np.uint32)


@st.composite
def slides(draw):
    """Draw rows of tiles with random instances, and pairs among them."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    counts = draw(st.lists(st.integers(0, 12), min_size=1, max_size=6))
    rows = [_instances(rng, row, n) for row, n in enumerate(counts)]
    n_pairs = draw(st.integers(0, 12)) if sum(counts) else 0
    return rows, rng.integers(0, max(sum(counts), 1), (n_pairs, 2))


def _instances(rng, row, n):
    pixels = rng.permutation(ROW_PX * WIDTH)[:n] + row * ROW_PX * WIDTH
    y, x = np.divmod(pixels, WIDTH)
    height, width = rng.integers(1, 9, (2, n))
    area = rng.integers(1, 40, n)
    return np.stack([pixels, area, y, x, y + height, x + width], axis=1)


@given(slides(), st.integers(0, 30), st.integers(3, 60))
def test_ranking_by_rows_is_ranking_all_at_once(slide, min_area_px, max_extent_px):
    rows, pairs = slide
    limits = NucleusLimits(min_area_px=min_area_px, max_extent_px=max_extent_px)
    records, parts = np.concatenate(rows), parts_of(pairs)
    ranked = list(rank_rows(rows, join(pairs, parts, records[parts]), limits))
    nuclei, names = plainly(records, pairs, limits)
    assert np.array_equal(np.concatenate([row.nuclei for row in ranked]), nuclei)
    assert np.array_equal(np.concatenate([row.lookup for row in ranked]), names)


def test_ids_count_on_beyond_any_tile():
    rows = [_instances(np.random.default_rng(row), row, 5) for row in range(3)]
    none = np.zeros((0, 2), np.int64)
    joined = join(none, parts_of(none), np.zeros((0, 6), np.int64))
    limits = NucleusLimits(min_area_px=0, max_extent_px=99)
    names = [row.lookup for row in rank_rows(rows, joined, limits)]
    assert [sorted(name.tolist()) for name in names] == [
        [1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10],
        [11, 12, 13, 14, 15],
    ]


@given(slides(), st.integers(2**32, 2**40))
def test_instances_and_anchors_beyond_32_bits_join_as_the_others(slide, beyond):
    rows, pairs = slide
    records, parts = np.concatenate(rows), parts_of(pairs)
    near = join(pairs, parts, records[parts])
    lifted = records + np.array([beyond, 0, 0, 0, 0, 0])
    far = join(pairs + beyond, parts + beyond, lifted[parts])
    assert np.array_equal(far.parts - beyond, near.parts)
    assert np.array_equal(far.whole_of, near.whole_of)
    assert np.array_equal(far.first - beyond, near.first)
    assert np.array_equal(far.wholes[:, 0] - beyond, near.wholes[:, 0])
    assert np.array_equal(far.wholes[:, 1:], near.wholes[:, 1:])


def test_more_nuclei_than_ids_are_refused(monkeypatch):
    monkeypatch.setattr(ranking, "MOST_NUCLEI", 7)
    rows = [_instances(np.random.default_rng(row), row, 5) for row in range(2)]
    none = np.zeros((0, 2), np.int64)
    joined = join(none, parts_of(none), np.zeros((0, 6), np.int64))
    limits = NucleusLimits(min_area_px=0, max_extent_px=99)
    with pytest.raises(StageFailed, match="10 nuclei so far, more than the 7"):
        list(rank_rows(rows, joined, limits))
