"""How fast a large label map is scored, beside one sort of its pixels."""

import time

import numpy as np

from segpipe.metrics import (
    Typing,
    confusion,
    count_overlap,
    count_pixels,
    count_types,
    pixel_scores,
    rank,
    ranking_scores,
    scores,
)
from segpipe.metrics.detections import match_centres
from segpipe.metrics.overlap import overlap

CELL, RADIUS = 29, 10
SIDE_PX = {"measured": 4096, "only run": 1024}
"""4096 pixels square hold twenty thousand nuclei."""


def discs(side):
    """Return discs, and the same in disorder and a little off."""
    y, x = np.ogrid[:side, :side]
    inside = (y % CELL - 14) ** 2 + (x % CELL - 14) ** 2 <= RADIUS**2
    ids = (y // CELL) * (side // CELL + 1) + x // CELL + 1
    truth = np.where(inside, ids, 0).astype(np.int32)
    names = np.random.default_rng(0).permutation(truth.max() + 1) + 1
    moved = np.roll(truth, (2, 3), (0, 1))
    return truth, np.where(moved > 0, names[moved], 0).astype(np.int32)


def every_score(truth, found):
    table = overlap(truth, found)
    pairs = match_centres(truth, found, 12)
    ranking = rank(table, np.linspace(0, 1, len(table.found_ids)))
    typing = Typing(
        truth=np.arange(len(table.truth_ids)) % 5,
        found=np.arange(len(table.found_ids)) % 5,
        n_types=4,
    )
    count_types(typing, confusion(typing, pairs), table)
    counts = count_overlap(table, n_detected=len(pairs[0]))
    return {
        "n_truth": counts.n_truth,
        **scores(counts),
        **pixel_scores(count_pixels(truth, found, table)),
        **ranking_scores(ranking),
    }


def test_scoring_beside_one_sort_of_the_pixels(benchmark):
    truth, found = discs(SIDE_PX["measured" if benchmark.enabled else "only run"])
    every_score(truth[:64, :64], found[:64, :64])  # compiled
    result = benchmark(every_score, truth, found)
    if benchmark.stats is not None:
        started = time.perf_counter()
        np.unique(truth.astype(np.int64) * (found.max() + 1) + found)
        seconds = time.perf_counter() - started
        ours = benchmark.stats.stats.min
        benchmark.extra_info["mpx_per_s"] = round(truth.size / 1e6 / ours, 1)
        benchmark.extra_info["sorts"] = round(ours / seconds, 2)
        print(f"\n{benchmark.extra_info}")  # noqa: T201 - what a benchmark is for
    assert result["n_truth"] > truth.size / CELL**2
    assert result["dq"] > 0.9
