"""How fast nuclei are measured, beside scikit-image for the columns it knows."""

import time

import numpy as np
import pytest
from skimage.measure import label, regionprops_table
from synthetic_slide import dense_tile

from segpipe.geometry import Box
from segpipe.tables.frame import Frame
from segpipe.tables.measuring import measure

THEIRS = (
    "area",
    "centroid",
    "axis_major_length",
    "axis_minor_length",
    "orientation",
    "eccentricity",
    "solidity",
    "perimeter_crofton",
)


def everything(labels):
    """Return the arguments of ``measure`` over a label map, with four types."""
    rng = np.random.default_rng(2)
    frame = Frame(
        box=Box.of_shape(labels.shape),
        mpp=0.5,
        downsample=2.0,
        canvas_shape=labels.shape,
        window_px=512,
        type_names=("a", "b", "c", "d"),
    )
    maps = {
        "prob": rng.integers(0, 256, labels.shape, np.uint8),
        "type": rng.integers(0, 256, (4, *labels.shape), np.uint8),
    }
    planes = rng.integers(0, 256, (3, *labels.shape), np.uint8)
    return {"planes": planes, "maps": maps, "frame": frame}


def test_measuring_beside_scikit_image(benchmark):
    tile = dense_tile(1024 if benchmark.enabled else 256)
    labels = label(tile.core > 0, connectivity=1).astype(np.uint32)
    ids = np.arange(1, labels.max() + 1, dtype=np.uint32)
    given = everything(labels)
    table = benchmark(measure, labels, ids, **given)
    started = time.perf_counter()
    theirs = regionprops_table(labels.astype(np.int32), properties=THEIRS)
    seconds = time.perf_counter() - started
    if benchmark.stats is not None:
        ours = benchmark.stats.stats.min
        benchmark.extra_info["nuclei_per_s"] = round(len(ids) / ours)
        benchmark.extra_info["times_regionprops"] = round(seconds / ours, 1)
        print(f"\n{len(ids)} nuclei {benchmark.extra_info}")  # noqa: T201
    assert len(table["area_um2"]) == len(theirs["area"]) == len(ids)
    assert table["area_um2"].sum() == pytest.approx(theirs["area"].sum() * 0.25)
