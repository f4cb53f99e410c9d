"""What joining and ranking a slide costs as it grows: per nucleus, the same."""

import tracemalloc

import numpy as np
import pytest
from small_slides import write_slide
from synthetic_slide import dense_plan, dense_tile, write_all_records

from segpipe.config import Settings, SlideRef
from segpipe.labels.records import ANCHOR
from segpipe.stages import stitching
from segpipe.stages.nuclei_index import read_index
from segpipe.stages.planning import plan_slide

SIZES = (10**4, 10**5, 10**6, 10**7)


@pytest.fixture
def plan(tmp_path):
    tissue = np.full((256, 256, 3), (180, 90, 160), np.uint8)
    path = write_slide(tmp_path / "s.tif", tissue)
    return plan_slide(SlideRef(id="s", path=path), Settings(), tmp_path / "out")


def test_a_dense_slide_is_numbered_by_its_anchors(plan):
    small = dense_plan(plan, 5000, tile_px=256)
    write_all_records(small, tile_px=256)
    stitching.prepare(small)
    index = read_index(small)
    anchors = index.nuclei[:, ANCHOR]
    assert len(small.tissue_tiles) > 9
    assert np.all(np.diff(anchors) > 0)
    parts = len(small.tissue_tiles) * dense_tile(256).n_labels
    assert len(index.lookup) == parts
    assert 0.8 * parts < len(anchors) < parts
    assert index.lookup.max() == len(anchors)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("n_nuclei", SIZES)
def test_time_and_memory_of_stitching_as_slides_grow(benchmark, plan, n_nuclei):
    if not benchmark.enabled:
        pytest.skip("a benchmark: make bench")
    large = dense_plan(plan, n_nuclei)
    write_all_records(large)
    benchmark.pedantic(stitching.prepare, args=(large,))
    n = len(read_index(large).nuclei)
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
