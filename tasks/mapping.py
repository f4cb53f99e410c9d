"""A ``map`` over the workers of a Dask cluster that survives what clusters do.

It gives the same results as the builtin, in any order. Only the batch (a tuple of unit
numbers) travels to a worker and only a receipt travels back; pixels stay in the store.
A batch that meets a transient error is tried again; one that kills its worker is cut in
two until the unit that does it is alone and named; a cluster on which nothing moves is
given up, saying where it stood. No batch is left running behind an error.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from uuid import uuid4

from distributed import Client, Future, KilledWorker

from segpipe.errors import SegpipeError, StageFailed
from segpipe.stages._stage import Mapper
from tasks.faults import ClusterLost, is_transient

Item = TypeVar("Item")
Result = TypeVar("Result")



@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How much is asked of a cluster at once, and how long it may take."""

    in_flight_per_thread: int = 4
    """Batches submitted ahead: enough to keep workers full, few enough to drain."""
    tries: int = 3
    """Runs of a batch that meets transient errors."""
    backoff_s: float = 0.5
    """Wait before the second try; doubled before each later one."""
    stall_s: float = 1800.0
    """A cluster on which no batch ends for so long is given up."""


@contextmanager
def dask_map(
    address: str,
    *,
    name: str = "batch",
    resources: Mapping[str, float] | None = None,
    patience: Patience | None = None,
) -> Iterator[Mapper]:
    """Connect to a scheduler and yield a mapper over its workers.

    On leaving, also by an error or Ctrl-C, everything still queued is cancelled.

    Parameters
    ----------
    address
        Of the scheduler, e.g. ``tcp://127.0.0.1:8786``.
    name
        What the batches are called in Dask's keys and in messages.
    resources
        Dask resources each batch needs, e.g. ``{"GPU": 1}``.
    patience
        Window, tries and watchdog.

    Raises
    ------
    ClusterLost
        If no scheduler answers there, or it goes away.
    StageFailed
        If a unit kills every worker that tries it, or nothing moves any more.
    """
    with connected(address) as client:

        def mapper(
            function: Callable[[Item], Result], items: Iterable[Item], /
        ) -> Iterator[Result]:
            flight = _Flight(
                client=client,
                function=function,
                fresh=iter(items),
                name=name,
                resources=dict(resources or {}),
                patience=patience or Patience(),
            )
            return _mapped(flight)

        yield mapper


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler; on leaving, its work for this client is cancelled.

    Raises
    ------
    ClusterLost
        If no scheduler answers at the address within 30 s.
    """
    try:
        client = Client(address, set_as_default=False, timeout=30)
    except OSError as error:
        message = (
            f"No Dask scheduler answers at {address} ({error}). Start it, or leave "
            "--scheduler out to use this machine's own workers."
        )
        raise ClusterLost(message) from error
    try:
        yield client
    finally:
        client.close(timeout=5)


def _mapped(flight: _Flight) -> Iterator[Any]:
    """Yield a result for each item, or for each part an item had to be cut into."""
    try:
        while flight.launch():
            future, attempt = flight.land()
            if future.status == "finished":
                yield future.result()
            else:
                flight.again(attempt, future)
    except Exception:
        flight.drain()
        raise
    finally:
        flight.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One run of one item."""

    item: Any
    number: int = 1
    """Counted from 1."""
    due: float = 0.0
    """Not before this time of the monotonic clock."""
    alone: bool = False
    """Nothing else was under way, so a dead worker is this item's doing."""


@dataclass(slots=True, kw_only=True)
class _Flight:
    """The attempts of one map: to come, under way, and landed."""

    client: Client
    function: Callable[[Any], Any]
    fresh: Iterator[Any]
    """Items not yet tried."""
    name: str
    resources: dict[str, float]
    patience: Patience
    delayed: list[_Attempt] = field(default_factory=list)
    """To be tried again when due."""
    suspects: deque[_Attempt] = field(default_factory=deque)
    """To be tried alone: their workers died."""
    airborne: dict[str, tuple[Future, _Attempt]] = field(default_factory=dict)
    """Under way, by key."""
    landed: SimpleQueue[str] = field(default_factory=SimpleQueue)
    """Keys of futures that have ended, put there by Dask's callback thread."""
    run: str = field(default_factory=lambda: uuid4().hex[:12])
    numbers: Iterator[int] = field(default_factory=count)

    def launch(self) -> bool:
        """Submit what there is room for; return whether anything is left to wait for."""
        if self.suspects:
            if not self.airborne:
                self._submit(self.suspects.popleft())
        else:
            for attempt in self._next_attempts(self._room()):
                self._submit(attempt)
        return bool(self.airborne or self.delayed)

    def land(self) -> tuple[Future, _Attempt]:
        """Wait for an attempt to end, launching delayed ones as they fall due.

        Raises
        ------
        StageFailed, ClusterLost
            If none ends within ``patience.stall_s``.
        """
        deadline = time.monotonic() + self.patience.stall_s
        while (now := time.monotonic()) < deadline:
            wake = min([deadline, *(attempt.due for attempt in self.delayed)])
            try:
                return self.airborne.pop(self.landed.get(timeout=max(0.01, wake - now)))
            except Empty:
                self.launch()
        raise self._stalled()

    def again(self, attempt: _Attempt, future: Future) -> None:
        """Arrange another try of what failed, or raise why there is none."""
        error = _error_of(future)
        if isinstance(error, KilledWorker):
            self._suspect(attempt)
        elif is_transient(error) and attempt.number < self.patience.tries:
            wait_s = self.patience.backoff_s * 2 ** (attempt.number - 1)
            self.delayed.append(
                _Attempt(
                    item=attempt.item,
                    number=attempt.number + 1,
                    due=time.monotonic() + wait_s,
                )
            )
        else:
            raise error

    def drain(self) -> None:
        """Wait a while for what is under way to end; its results are on disk."""
        deadline = time.monotonic() + min(60.0, self.patience.stall_s)
        while self.airborne and (left_s := deadline - time.monotonic()) > 0:
            try:
                self.airborne.pop(self.landed.get(timeout=left_s))
            except Empty:
                return

    def cancel(self) -> None:
        """Cancel what is still under way."""
        futures = [future for future, _ in self.airborne.values()]
        if futures and self.client.status == "running":
            self.client.cancel(futures, reason="segpipe-stopped")
        self.airborne.clear()

    def _next_attempts(self, room: int) -> Iterator[_Attempt]:
        now = time.monotonic()
        due = [attempt for attempt in self.delayed if attempt.due <= now]
        self.delayed = [attempt for attempt in self.delayed if attempt.due > now]
        yield from due
        for _, item in zip(range(room - len(due)), self.fresh, strict=False):
            yield _Attempt(item=item)

    def _room(self) -> int:
        n_threads = sum(self.client.nthreads().values())
        window = max(1, n_threads) * self.patience.in_flight_per_thread
        return max(0, window - len(self.airborne))

    def _submit(self, attempt: _Attempt) -> None:
        key = f"{self.name}-{self.run}-{next(self.numbers)}"
        future = self.client.submit(
            self.function,
            attempt.item,
            key=key,
            resources=self.resources or None,
            pure=False,
        )
        self.airborne[key] = future, attempt
        future.add_done_callback(lambda ended: self.landed.put(ended.key))

    def _suspect(self, attempt: _Attempt) -> None:
        """Cut an item in two, to be tried alone; an indivisible one that was is named.

        Raises
        ------
        StageFailed
            If the item was alone and can't be cut: it is the one.
        """
        halves = _halves(attempt.item)
        if attempt.alone and len(halves) == 1:
            message = (
                f"{self.name}: {_named(attempt.item)} killed every worker that tried it, "
                "also alone: native code crashed, or memory ran out. The slide's other "
                "units are kept. Look at it with --serial, or use a smaller --tile-px."
            )
            raise StageFailed(message)
        self.suspects.extend(_Attempt(item=half, alone=True) for half in halves)

    def _stalled(self) -> SegpipeError:
        """Say where a cluster stands that doesn't move, and restart who is stuck."""
        seconds = f"{self.patience.stall_s:g} s"
        busy = {
            worker: set(keys) & set(self.airborne)
            for worker, keys in self.client.processing().items()
        }
        stuck = [worker for worker, keys in busy.items() if keys]
        if not busy:
            message = f"{self.name}: the cluster has had no worker for {seconds}."
            return ClusterLost(message)
        if not stuck:
            message = (
                f"{self.name}: no worker took a batch for {seconds}; "
                f"{len(busy)} workers, resources needed: {self.resources or 'none'}."
            )
            return ClusterLost(message)
        items = [self.airborne[key][1].item for worker in stuck for key in busy[worker]]
        units = ", ".join(_named(item) for item in items[:4])
        message = (
            f"{self.name}: no batch ended for {seconds}. Under way on {len(stuck)} "
            f"workers: {units}{' ...' if len(items) > 4 else ''}. Last seen in: "
            f"{self._frames() or 'unknown'}. These workers were restarted; run again."
        )
        self.cancel()  # or the restarted workers would be given the same again
        self.client.restart_workers(stuck, timeout=30, raise_for_error=False)
        return StageFailed(message)

    def _frames(self) -> str:
        """Return the innermost line each worker is in."""
        try:
            stacks = self.client.sync(
                self.client.scheduler.call_stack,
                keys=list(self.airborne),
                callback_timeout=10,
            )
        except (OSError, RuntimeError):
            return ""
        lines = {
            " ".join(frames[-1].split())
            for by_key in (stacks or {}).values()
            for frames in by_key.values()
            if frames
        }
        return "; ".join(sorted(lines))


def _error_of(future: Future) -> BaseException:
    """Return what ended a future; a cancelled one lost its scheduler.

    Raises
    ------
    ClusterLost
        If the connection to the scheduler is gone.
    """
    error: BaseException = future.exception()
    if future.status == "error":
        return error
    message = f"The Dask scheduler went away while batches were under way ({error})."
    return ClusterLost(message)


def _halves(item: Any) -> list[Any]:  # noqa: ANN401
    """Cut a tuple of two units or more in two; anything else stays whole."""
    if not isinstance(item, tuple) or len(item) < 2:
        return [item]
    middle = len(item) // 2
    return [item[:middle], item[middle:]]


def _named(item: Any) -> str:  # noqa: ANN401
    """Say which units an item is."""
    if not isinstance(item, tuple):
        return f"item {item!r}"
    if len(item) == 1:
        return f"unit {item[0]}"
    return f"units {item[0]} to {item[-1]} ({len(item)})"
