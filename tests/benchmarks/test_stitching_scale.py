"""What joining and ranking a slide costs as it grows: per nucleus, the same."""

import tracemalloc

import numpy as np
import pytest
from small_slides import write_slide
from synthetic_slide import dense_plan, dense_tile, write_all_records

from segpipe.config import Settings, SlideRef
from segpipe.stages import nuclei_index, stitching
from segpipe.stages.nuclei_index import NucleiIndex
from segpipe.stages.planning import plan_slide
from segpipe.stitching.blocks import Blocks

SIZES = (10**4, 10**5, 10**6, 10**7)


@pytest.fixture
def plan(tmp_path):
    """A plan that counts all of the pattern's nuclei, 3 um² and more at 0.25 um."""
    tissue = np.full((256, 256, 3), (180, 90, 160), np.uint8)
    path = write_slide(tmp_path / "s.tif", tissue)
    return plan_slide(
        SlideRef(id="s", path=path), Settings(min_area_um2=2.0), tmp_path / "out"
    )


def test_a_dense_slide_is_numbered_by_its_anchors(plan):
    small = dense_plan(plan, 5000, tile_px=256)
    write_all_records(small, tile_px=256)
    stitching.prepare(small)
    index = NucleiIndex(small)
    anchors = index.anchors(1, index.n_nuclei)
    assert len(small.tissue_tiles) > 9
    assert np.all(np.diff(anchors) > 0)
    parts = len(small.tissue_tiles) * dense_tile(256).n_labels
    n_labels = dense_tile(256).n_labels
    names = [index.names_of(tile, n_labels) for tile in small.tissue_tiles]
    assert 0.8 * parts < len(anchors) < parts
    assert np.array_equal(np.unique(names), np.arange(len(anchors) + 1))


def test_memory_is_that_of_a_block_however_large_the_slide(plan, monkeypatch):
    """Eight times the tiles and the nuclei, in blocks of four by four tiles.

    What grows with the slide would grow eightfold; a bound of three leaves room for
    what other threads of the process allocate meanwhile.
    """

    def small_blocks(plan):
        return Blocks(tiles=plan.tiles, reach_px=100, least_px=512)

    monkeypatch.setattr(nuclei_index, "blocks_of", small_blocks)
    peaks = []
    for n_nuclei in (2_500, 20_000):
        dense = dense_plan(plan, n_nuclei, tile_px=128)
        write_all_records(dense, tile_px=128)
        stitching.prepare(dense)
        peaks.append(_peak_bytes(dense))
    assert len(dense.tissue_tiles) > 600
    assert peaks[1] < 3 * peaks[0]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("n_nuclei", SIZES)
def test_time_and_memory_of_stitching_as_slides_grow(benchmark, plan, n_nuclei):
    if not benchmark.enabled:
        pytest.skip("a benchmark: make bench")
    large = dense_plan(plan, n_nuclei)
    write_all_records(large)
    benchmark.pedantic(stitching.prepare, args=(large,))
    n = NucleiIndex(large).n_nuclei
    print(  # noqa: T201 - what a benchmark is for
        f"\n{n:>10,} nuclei  {len(large.tissue_tiles):>6,} tiles  "
        f"{benchmark.stats.stats.min / n * 1e6:5.2f} us each  "
        f"peak {_peak_bytes(large) / 2**20:6.1f} MiB"
    )


def _peak_bytes(plan):
    tracemalloc.start()
    stitching.prepare(plan)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
