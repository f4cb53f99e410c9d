"""Dask's SpecCluster, of workers of two kinds whose numbers change."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from distributed import SpecCluster

from tasks.providers._scaling import Kind

LOST_S = 60.0
"""A worker that was there and has been gone for so long doesn't come back by itself."""
SETTINGS = {
    # Results are receipts, so nothing is spilled; and a pause would wait for memory to
    # shrink that is the worker's own.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
    # So long after a death, Dask gives up a worker that is just then being restarted;
    # with a unit that kills workers that comes to pass, and in the end there is none.
    "distributed.deploy.lost-worker-timeout": "365 days",
}
"""Dask's settings for every cluster that is started here."""


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
WORKER_ENVIRONMENT = ONE_THREAD | {
    f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value)
    for name, value in SETTINGS.items()
    if name.startswith("distributed.worker.")
}
"""Environment of a worker that isn't started from this process."""


@dataclass(slots=True, kw_only=True)
class Specs:
    """Adds and removes entries of a SpecCluster; each is one worker, or several."""

    cluster: SpecCluster
    spec: Callable[[Kind], dict[str, Any]]
    """Describes an entry, as SpecCluster wants it."""
    per_entry: Mapping[Kind, int]
    """Workers that one entry starts."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1000))
    """Of entries added later: a name is never used twice."""
    last_seen: dict[str, float] = field(default_factory=dict)

    def resize(
        self, kind: Kind, n: int, *, idle: frozenset[str], present: frozenset[str]
    ) -> None:
        """Add entries, remove idle ones, and replace those that are lost."""
        workers = {name: self._workers(name) for name in self._entries(kind)}
        lost = self._lost(workers, present)
        n_more = math.ceil(n / self.per_entry[kind]) - (len(workers) - len(lost))
        free = [name for name in workers if workers[name] <= idle and name not in lost]
        leaving = lost | set(free[: max(0, -n_more)])
        for name in leaving:
            del self.cluster.worker_spec[name]
        for _ in range(n_more):
            name = f"{kind}-{next(self.numbers)}"
            self.cluster.worker_spec[name] = self.spec(kind)
        if leaving or n_more > 0:
            names = sorted(set().union(*(workers[name] for name in leaving)))
            self.cluster.sync(self._settle, names)

    async def _settle(self, leaving: list[str]) -> None:
        if leaving:  # politely, or their tasks would count a death
            await self.cluster.scheduler_comm.retire_workers(names=leaving)
        await self.cluster

    def _entries(self, kind: Kind) -> list[str]:
        return [name for name in self.cluster.worker_spec if name.startswith(kind)]

    def _workers(self, name: str) -> frozenset[str]:
        group = self.cluster.worker_spec[name].get("group", [""])
        return frozenset(f"{name}{suffix}" for suffix in group)

    def _lost(
        self, workers: Mapping[str, frozenset[str]], present: frozenset[str]
    ) -> set[str]:
        """Return the entries whose workers were all there once and are no more."""
        now = time.monotonic()
        here = {name: now for name, its in workers.items() if its & present}
        self.last_seen |= here
        return {
            name for name in workers if now - self.last_seen.get(name, now) > LOST_S
        }


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
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


@contextmanager
def hushed() -> Iterator[None]:
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
