"""Dask workers of this machine: a process for each core, and one for each GPU."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Nanny, Scheduler, SpecCluster
from distributed.system import MEMORY_LIMIT

from segpipe.config import Settings
from segpipe.stages.devices import resolve_device
from segpipe.stages.pricing import default_workers

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
    ),
    "1",
)
"""A worker computes in one thread; there are as many workers as cores."""

DASK_SETTINGS = {
    "distributed.worker.multiprocessing-method": "spawn",
    # A worker's memory is its own, not results that Dask could spill; and a pause would
    # wait for it to shrink.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.allowed-failures": 1,
    # So long after a death, Dask gives up a worker that is just then being restarted;
    # with a unit that kills workers that comes to pass, and in the end there is none.
    "distributed.deploy.lost-worker-timeout": "365 days",
    # Loopback answers at once or never, and a dead worker must not be waited for.
    "distributed.comm.timeouts.connect": "5s",
}
LOOPBACK = {
    "host": "127.0.0.1",
    "dashboard": False,
    "dashboard_address": "127.0.0.1:0",  # else port 8787, which may be taken
}
"""Nothing of it is reached from another machine."""
MEMORY_SHARE = 0.9
"""Part of the machine's memory that workers may take together."""


@contextmanager
def local_cluster(settings: Settings) -> Iterator[tuple[str, int]]:
    """Start workers; yield the address of their scheduler, and how many they are.

    They listen on loopback only, and end when the block or this process does.
    """
    specs = worker_specs(settings)
    with dask.config.set(DASK_SETTINGS), _hushed(), _cluster(specs) as cluster:
        yield str(cluster.scheduler_address), len(specs)


def worker_specs(settings: Settings) -> dict[str, Any]:
    """Describe the workers by name, as Dask's SpecCluster wants them."""
    n_workers = settings.workers or default_workers()
    gpus = gpu_environments(resolve_device(settings.device))
    memory_bytes = int(MEMORY_SHARE * MEMORY_LIMIT / (n_workers + len(gpus)))
    specs = {f"cpu-{number}": _spec(memory_bytes, {}) for number in range(n_workers)}
    for number, environment in enumerate(gpus):
        specs[f"gpu-{number}"] = _spec(memory_bytes, environment, GPU=1)
    return specs


def gpu_environments(device: str) -> list[dict[str, str]]:
    """Return the environment of each GPU's worker: it sees that GPU and no other."""
    if device == "cpu":
        return []
    if device != "cuda":
        return [{}]  # a GPU by its number: the worker sees all, and takes that one
    import torch  # noqa: PLC0415 - runs on a CPU need not wait for it

    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = seen.split(",") if seen else map(str, range(torch.cuda.device_count()))
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names]


def _spec(
    memory_bytes: int, environment: dict[str, str], **resources: float
) -> dict[str, Any]:
    options = LOOPBACK | {
        "nthreads": 1,
        "memory_limit": memory_bytes,
        "silence_logs": logging.CRITICAL,
        "env": ONE_THREAD | environment,
        "resources": resources,
    }
    return {"cls": Nanny, "options": options}


@contextmanager
def _cluster(specs: dict[str, Any]) -> Iterator[SpecCluster]:
    _start_resource_tracker()
    with _deaf_to_ctrl_c():
        cluster = SpecCluster(
            scheduler={"cls": Scheduler, "options": LOOPBACK | {"port": 0}},
            workers=specs,
            silence_logs=logging.CRITICAL,
            name="segpipe",
        )
    try:
        yield cluster
    finally:
        _kill_workers(cluster)
        with suppress(TimeoutError):
            cluster.close(timeout=10)


def _kill_workers(cluster: SpecCluster) -> None:
    """End the workers at once: what they finished is on disk.

    Asked politely they take seconds, and a batch that hangs would be waited for.
    """
    for nanny in cluster.workers.values():
        nanny.close_gracefully(reason="segpipe-ends")  # and don't start another
        if nanny.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start threads, and through them processes, that Ctrl-C doesn't reach.

    The terminal sends it to workers too, who would die with a traceback each. The
    driver hears it, and ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_resource_tracker() -> None:
    """Start multiprocessing's tracker without its warning.

    It removes the semaphores that killed workers leave, and would say so on stderr.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker:UserWarning"
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep Dask's own log to itself: what matters is raised or told to the listener."""
    loggers = [logging.getLogger(name) for name in ("distributed", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
