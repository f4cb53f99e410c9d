"""What a cohort costs beside its work: sleeping batches through the real scheduler.

Run as a script. Slides are five stages of batches that sleep, flown as in a real run: a
`Flight` for each stage, over one connection, several slides side by side. The scheduler
is Dask's own, in the driver's process as in a real run; the workers are 64 (or as many
as asked for) real Dask workers of one thread, all in one other process, for nothing
runs on them but sleep.

    python tests/benchmarks/cohort_simulation.py --slides 10000 --workers 64

Prefect's part is measured by ``prefect_overhead.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import sys
import time
from contextlib import contextmanager
from functools import partial

import dask
import psutil
from distributed import Scheduler, SpecCluster, Worker

from tasks.mapping import connected, dask_map
from tasks.providers import Cluster
from tasks.providers.local import DASK_SETTINGS, LOOPBACK
from tasks.side_by_side import side_by_side

N_STAGES = 5


def host_workers(address, n_workers):
    """Be a process of many workers, until the scheduler is gone."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)

    async def serve():
        options = LOOPBACK | {"nthreads": 1, "memory_limit": 0}
        workers = [
            await Worker(address, name=f"cpu-{number}", **options)
            for number in range(n_workers)
        ]
        await asyncio.gather(*(worker.finished() for worker in workers))

    with dask.config.set(DASK_SETTINGS):
        asyncio.run(serve())


@contextmanager
def cluster_of(n_workers):
    """Have a scheduler, and a process with workers."""
    options = LOOPBACK | {"port": 0}
    with (
        dask.config.set(DASK_SETTINGS),
        SpecCluster(
            scheduler={"cls": Scheduler, "options": options},
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(
            target=host_workers, args=(cluster.scheduler_address, n_workers)
        )
        process.start()
        try:
            cluster.wait_for_workers(n_workers, timeout=120)
            yield Cluster(address=cluster.scheduler_address)
        finally:
            process.kill()
            process.join()


def nap(seconds, units):
    """Do a batch."""
    time.sleep(seconds)
    return units


def fly(cluster, n_batches, seconds, slide):
    """Do a slide: stage after stage."""
    for stage in range(N_STAGES):
        name = f"stage-{stage} slide-{slide}"
        batches = [(number,) for number in range(n_batches)]
        with dask_map(cluster, name=name) as map_:
            n_done = sum(1 for _ in map_(partial(nap, seconds), batches))
        if n_done != n_batches:
            message = f"{n_done} of {n_batches} batches of {name} landed"
            raise RuntimeError(message)
    return slide


def measure(asked):
    """Run the cohort, and say what it cost."""
    with cluster_of(asked.workers) as cluster, connected(cluster):
        process = psutil.Process()
        before = process.cpu_times()
        started = time.perf_counter()
        one = partial(fly, cluster, asked.batches, asked.seconds)
        ended = side_by_side(one, range(asked.slides), at_once=asked.at_once)
        for n, _ in enumerate(ended, start=1):
            if n % 1000 == 0:
                seconds = time.perf_counter() - started
                sys.stderr.write(f"{n} slides, {seconds:.0f} s\n")
        wall_s = time.perf_counter() - started
        after = process.cpu_times()
    n_batches = asked.slides * N_STAGES * asked.batches
    cpu_s = after.user + after.system - before.user - before.system
    ideal_s = n_batches * asked.seconds / asked.workers
    return {
        **vars(asked),
        "wall_s": round(wall_s, 1),
        "ideal_s": round(ideal_s, 1),
        "workers_busy": round(ideal_s / wall_s, 3),
        "driver_cpu_ms_per_slide": round(1000 * cpu_s / asked.slides, 1),
        "driver_cpu_ms_per_batch": round(1000 * cpu_s / n_batches, 2),
        "wall_beyond_ideal_ms_per_slide": round(
            1000 * (wall_s - ideal_s) / asked.slides, 1
        ),
        "driver_rss_mib": process.memory_info().rss // 2**20,
    }


def main():
    """Read the options, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--batches", type=int, default=4, help="in each stage")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each batch")
    parser.add_argument("--at-once", type=int, default=8, help="slides under way")
    sys.stdout.write(json.dumps(measure(parser.parse_args()), indent=1) + "\n")


if __name__ == "__main__":
    main()
