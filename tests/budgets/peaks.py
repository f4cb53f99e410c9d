"""Segments slides one after the other, and prints the peak memory of each step.

Batches run in one worker process, as on a cluster; the rest in this one. The peak is
the system's own (``VmHWM``), set back before each batch and each step of the driver.
Arguments: tile side, folder for results, slides.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle

from segpipe.config import Settings, SlideRef
from segpipe.stages._stage import run_stage
from segpipe.stages.path import STAGES
from segpipe.stages.planning import plan_slide
from segpipe.stages.publishing import publish
from segpipe.stages.slide import held


def make_ready() -> None:
    """Compute in one thread, as workers do."""
    import cv2  # noqa: PLC0415 - in the worker, not in the driver
    import torch  # noqa: PLC0415

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def forget_peak() -> None:
    """Set the peak of this process back to what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Return the peak of this process in bytes."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def peaked(pickled: bytes, item: object) -> tuple[Any, int]:
    """Call a function; return its result and the peak meanwhile."""
    function = cloudpickle.loads(pickled)
    forget_peak()
    return function(item), peak()


def measured(
    slide: Path, out: Path, settings: Settings, worker: ProcessPoolExecutor
) -> dict[str, object]:
    """Segment a slide; return its price and the peaks of worker and driver."""
    peaks: dict[str, int] = defaultdict(int)
    plan = plan_slide(SlideRef(id=slide.stem, path=slide), settings, out)

    def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for result, n_bytes in worker.map(
            partial(peaked, cloudpickle.dumps(function)), items
        ):
            step = f"worker {stage.name}"
            peaks[step] = max(peaks[step], n_bytes)
            yield result

    with held(plan):
        for stage in STAGES:
            forget_peak()
            run_stage(stage, plan, map_=mapped)
            peaks[f"driver {stage.name}"] = peak()
        forget_peak()
        row = publish(plan)
        peaks["driver publish"] = peak()
    return {
        "slide": slide.stem,
        "peaks": peaks,
        "worker_bytes": plan.price.worker_bytes,
        "driver_bytes": plan.price.driver_bytes,
        "n_nuclei": row.n_nuclei,
        "n_windows": len(plan.tissue_windows),
    }


def main(tile_px: str, out: str, *slides: str) -> None:
    """Measure some slides; if several, the first twice: allocators keep memory."""
    settings = Settings(tile_px=int(tile_px), device="cpu")
    paths = [Path(slide) for slide in slides]
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawning, make_ready) as worker:
        if len(paths) > 1:
            measured(paths[0], Path(out) / "once", settings, worker)
        found = [measured(path, Path(out) / "out", settings, worker) for path in paths]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
