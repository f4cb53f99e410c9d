"""As many workers as there is work for: clusters that grow, and shrink when idle.

Dask's own scaling knows one kind of worker and, on Kubernetes, no TLS. This looks every
few seconds at what the scheduler has to do, counts it for each kind of worker, and says
a number. Only workers that have been idle for long are let go, so none is killed at
work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from distributed import Scheduler

from tasks.faults import ClusterLost
from tasks.mapping import connected
from tasks.providers._provider import Cluster, Group

Kind = Literal["cpu", "gpu"]


class Resize(Protocol):
    """Changes how many workers of a kind there are."""

    def __call__(
        self, kind: Kind, n: int, *, idle: frozenset[str], present: frozenset[str]
    ) -> None:
        """Have so many workers of a kind; called at every look, often with no news.

        Parameters
        ----------
        kind, n
            How many of what.
        idle
            Names of workers of which some may go, if there are more than ``n``.
        present
            Names of those that the scheduler knows.
        """


LOOK_S = 2.0
"""Between looks; starting a worker takes longer."""

logger = logging.getLogger("segpipe.cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What a scheduler has of one kind."""

    n_tasks: int
    """Not finished."""
    busy: frozenset[str]
    """Names of workers that have tasks."""
    idle: frozenset[str]
    """Names of those that have none."""


def census(dask_scheduler: Scheduler) -> dict[Kind, Census]:
    """Count tasks and workers of each kind; runs in the scheduler's process.

    A task that needs a GPU is for workers that have one; all others are for the rest.
    """
    unfinished = [
        "GPU" in (task.resource_restrictions or {})
        for task in dask_scheduler.tasks.values()
        if task.state in {"processing", "queued", "no-worker"}
    ]
    workers: list[tuple[bool, bool, str]] = [
        ("GPU" in worker.resources, bool(worker.processing), str(worker.name))
        for worker in dask_scheduler.workers.values()
    ]
    kinds: dict[Kind, bool] = {"cpu": False, "gpu": True}
    return {
        kind: Census(
            n_tasks=unfinished.count(has_gpu),
            busy=frozenset(n for gpu, busy, n in workers if gpu == has_gpu and busy),
            idle=frozenset(
                n for gpu, busy, n in workers if gpu == has_gpu and not busy
            ),
        )
        for kind, has_gpu in kinds.items()
    }


def wanted(group: Group, n_tasks: int, n_now: int, n_idle_long: int) -> int:
    """Return how many workers a group should have.

    One for each task within its limits, at once; fewer than now only by those that have
    been idle for long.
    """
    needed = min(max(n_tasks, group.min), group.max)
    return max(needed, min(n_now, group.max) - n_idle_long)


@contextmanager
def following_demand(
    cluster: Cluster, groups: Mapping[Kind, Group], resize: Resize
) -> Iterator[None]:
    """Keep groups of workers as large as their work while the block runs."""
    over = threading.Event()
    follower = _Follower(groups=groups, resize=resize)
    thread = threading.Thread(
        target=_follow, args=(cluster, follower, over), daemon=True, name="scaling"
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=30)


def _follow(cluster: Cluster, follower: _Follower, over: threading.Event) -> None:
    try:
        with connected(cluster) as client:
            while not over.wait(LOOK_S):
                follower.look(client.run_on_scheduler(census), time.monotonic())
    except (OSError, ClusterLost):
        logger.debug("The scheduler is gone; whoever works with it says so.")


@dataclass(slots=True, kw_only=True)
class _Follower:
    """Remembers since when who is idle, and how many workers were asked for."""

    groups: Mapping[Kind, Group]
    resize: Resize
    asked: dict[Kind, int] = field(default_factory=dict)
    idle_since: dict[str, float] = field(default_factory=dict)

    def look(self, found: Mapping[Kind, Census], now: float) -> None:
        """Say for each group how many it should be."""
        for kind, group in self.groups.items():
            seen = found[kind]
            idle = self._idle_long(seen, now, group.idle_s)
            n_now = self.asked.get(kind, group.min)
            n = wanted(group, seen.n_tasks, n_now, len(idle))
            try:
                self.resize(kind, n, idle=idle, present=seen.idle | seen.busy)
            except Exception as error:  # noqa: BLE001 - whatever a batch system says
                logger.warning("%d %s workers can't be had: %s", n, kind, error)
            else:
                self.asked[kind] = n

    def _idle_long(self, seen: Census, now: float, idle_s: float) -> frozenset[str]:
        for name in seen.busy:
            self.idle_since.pop(name, None)
        since = {name: self.idle_since.setdefault(name, now) for name in seen.idle}
        return frozenset(n for n, started in since.items() if now - started >= idle_s)


def threads_of(groups: Mapping[Kind, Any]) -> int:
    """Return how many workers groups have at most, if any of them grows; else 0."""
    grows = any(group.min < group.max for group in groups.values())
    return sum(group.max for group in groups.values()) if grows else 0
