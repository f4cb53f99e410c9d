"""The batches of one map on their way over a cluster: launched, landed, tried again.

Several are under way at once. One that meets a transient error is tried again; those
whose worker died are suspects, cut in two and tried alone, until the unit that kills
workers is alone and can be named; if nothing lands for long, the flight is given up and
says where it stood.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker, get_worker

from segpipe.errors import SegpipeError, StageFailed, StageStalled
from tasks.faults import ClusterLost, is_transient
from tasks.side_by_side import raise_if_stopped
from tasks.witness import Nobody, Witness

GONE = (
    "The Dask scheduler went away while batches were under way. Finished ones are kept:"
    " start it again and run the same command."
)
LOOK_S = 2.0
"""Between looks at a cluster: who is there, and whether all is to stop."""


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
    drain_s: float = 60.0
    """How long an error waits for batches under way, so that none is left behind."""
    lone_tries: int = 2
    """Tries alone of a unit before it is said to kill workers; others may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of one item."""

    item: Any
    number: int = 1
    """Counted from 1."""
    due: float = 0.0
    """Not before this time of the monotonic clock."""
    n_alone: int = 0
    """Which try it is with nothing else of this flight under way; 0 is none such."""


@dataclass(slots=True, kw_only=True)
class Flight:
    """The attempts of one map: to come, under way, and landed."""

    client: Client
    function: Callable[[Any], Any]
    fresh: Iterator[Any]
    """Items not yet tried."""
    name: str
    """What the batches are called in keys and messages."""
    resources: dict[str, float]
    """Dask resources each batch needs."""
    patience: Patience
    witness: Witness = field(default_factory=Nobody)
    """Who is told of batches and workers."""
    most_threads: int = 0
    """Threads that a cluster which grows may come to have."""
    wait_s: float = 120.0
    """How long such a cluster may be without workers that can take a batch."""
    looked: float = -1e9
    """When the workers were last counted."""
    n_threads: int = 0
    """What they had then."""
    seen: frozenset[str] = frozenset()
    """Addresses of the workers there were last."""
    delayed: list[Attempt] = field(default_factory=list)
    """To be tried again when due."""
    suspects: deque[Attempt] = field(default_factory=deque)
    """To be tried alone: their workers died."""
    airborne: dict[str, tuple[Future, Attempt]] = field(default_factory=dict)
    """Under way, by key."""
    landed: SimpleQueue[str] = field(default_factory=SimpleQueue)
    """Keys of futures that have ended, put there by Dask's callback thread."""
    run: str = field(default_factory=lambda: uuid4().hex[:12])
    numbers: Iterator[int] = field(default_factory=count)

    def results(self) -> Iterator[Any]:
        """Yield a result for each item, or for each part it had to be cut into.

        Raises
        ------
        StageFailed
            If a unit kills every worker that tries it, or nothing moves any more.
        ClusterLost
            If the scheduler or all workers are gone.
        Exception
            What the function raised, if it isn't transient or stays.
        """
        try:
            while self._launch():
                future, attempt = self._land()
                result, error = self._outcome(future)
                if error is None:
                    worker, value = result
                    self.witness.landed(worker)
                    yield value
                else:
                    self._try_again(attempt, error)
        except Exception:
            self._drain()
            raise
        finally:
            self._cancel()

    def _launch(self) -> bool:
        """Submit what there is room for; return whether there is anything to await."""
        if not self._holds_back():
            for attempt in self._next_attempts(self._room()):
                self._submit(attempt)
        elif self.suspects and not self.airborne:
            self._submit(self.suspects.popleft())
        return bool(self.airborne or self.delayed)

    def _holds_back(self) -> bool:
        """Whether a suspect is, or waits to be, tried alone: nothing goes beside it."""
        alone = any(attempt.n_alone for _, attempt in self.airborne.values())
        return alone or bool(self.suspects)

    def _next_attempts(self, room: int) -> Iterator[Attempt]:
        now = time.monotonic()
        due = [attempt for attempt in self.delayed if attempt.due <= now]
        self.delayed = [attempt for attempt in self.delayed if attempt.due > now]
        yield from due
        for _, item in zip(range(room - len(due)), self.fresh, strict=False):
            yield Attempt(item=item)

    def _room(self) -> int:
        if time.monotonic() > self.looked + LOOK_S:
            self._look()
        n_threads = max(1, self.n_threads, self.most_threads)
        window = n_threads * self.patience.in_flight_per_thread
        return max(0, int(window) - len(self.airborne))

    def _look(self) -> None:
        """Count the threads; not at every batch, for it costs as much as one."""
        if self.client.status != "running":
            raise ClusterLost(GONE)
        try:
            threads = self.client.nthreads()
        except OSError as error:
            raise ClusterLost(GONE) from error
        self.looked = time.monotonic()
        self.n_threads = sum(threads.values())
        self._look_for_lost(frozenset(threads))

    def _look_for_lost(self, workers: frozenset[str]) -> None:
        if lost := self.seen - workers:
            self.witness.lost(sorted(lost))
        self.seen = workers

    def _submit(self, attempt: Attempt) -> None:
        key = f"{self.name}-{self.run}-{next(self.numbers)}"
        future = self.client.submit(
            partial(_on_worker, self.function),
            attempt.item,
            key=key,
            resources=self.resources or None,
            priority=min(1, attempt.n_alone),  # not to wait behind what may kill
            pure=False,
        )
        self.airborne[key] = future, attempt
        future.add_done_callback(lambda ended: self.landed.put(ended.key))

    def _land(self) -> tuple[Future, Attempt]:
        """Wait for an attempt to end, launching what falls due or finds room."""
        since, is_hollow = time.monotonic(), False
        while (now := time.monotonic()) < (end := since + self._limit_s(is_hollow)):
            raise_if_stopped()
            due = [] if self._holds_back() else [each.due for each in self.delayed]
            wake = min([end, now + LOOK_S, *due])
            try:
                return self.airborne.pop(self.landed.get(timeout=max(0.01, wake - now)))
            except Empty:
                self._launch()
            if is_hollow != (is_hollow := self._is_hollow()):
                since = now
        raise self._stalled(self._limit_s(is_hollow))

    def _limit_s(self, is_hollow: bool) -> float:  # noqa: FBT001 - what _is_hollow says
        return self.wait_s if is_hollow else self.patience.stall_s

    def _is_hollow(self) -> bool:
        """Whether this is a cluster that grows, and no worker can take a batch yet."""
        if not self.most_threads:
            return False
        try:
            found = self.client.sync(self.client.scheduler.identity)["workers"]
        except OSError as error:
            raise ClusterLost(GONE) from error
        able = (
            all(worker["resources"].get(name, 0) >= n for name, n in needed)
            for needed in [self.resources.items()]
            for worker in found.values()
        )
        return not any(able)

    def _outcome(self, future: Future) -> tuple[Any, Exception | None]:
        """Return the result of an ended future, or its error."""
        if future.status == "cancelled":
            raise ClusterLost(GONE)
        try:
            return future.result(timeout=self.patience.stall_s), None
        except Exception as error:  # noqa: BLE001 - of the function, whatever it is
            return None, error

    def _try_again(self, attempt: Attempt, error: Exception) -> None:
        """Arrange another try of what failed, or raise why there is none."""
        if isinstance(error, KilledWorker):
            self._suspect(attempt, error)
        elif is_transient(error) and attempt.number < self.patience.tries:
            wait_s = self.patience.backoff_s * 2 ** (attempt.number - 1)
            due = time.monotonic() + wait_s
            again = Attempt(item=attempt.item, number=attempt.number + 1, due=due)
            self.delayed.append(again)
            self.witness.failed(attempt.item, attempt.number, error)
        else:
            raise error

    def _suspect(self, attempt: Attempt, error: KilledWorker) -> None:
        """Cut an item in two, to try the parts alone; name a unit that was alone."""
        halves = _halves(attempt.item)
        n_alone = attempt.n_alone + 1 if len(halves) == 1 else 1
        if n_alone > self.patience.lone_tries:
            message = (
                f"{self.name}: {named(attempt.item)} killed every worker that tried "
                "it, also alone: native code crashed, or memory ran out. Finished "
                "units are kept. Look at it with --serial, or use a smaller --tile-px."
            )
            raise StageFailed(message)
        self.witness.failed(attempt.item, attempt.number, error)
        self.suspects.extend(Attempt(item=half, n_alone=n_alone) for half in halves)

    def _drain(self) -> None:
        """Wait a while for what is under way to end; its results are on disk."""
        deadline = time.monotonic() + self.patience.drain_s
        while self.airborne and (left_s := deadline - time.monotonic()) > 0:
            try:
                self.airborne.pop(self.landed.get(timeout=left_s))
            except Empty:
                return

    def _cancel(self) -> None:
        """Cancel what is still under way."""
        futures = [future for future, _ in self.airborne.values()]
        self.airborne.clear()
        if futures and self.client.status == "running":
            self.client.cancel(futures, reason="segpipe-stopped")

    def _stalled(self, limit_s: float) -> SegpipeError:
        """Say where a cluster stands that doesn't move, and restart who is stuck."""
        held = {
            worker: [self.airborne[key][1].item for key in keys if key in self.airborne]
            for worker, keys in self.client.processing().items()
        }
        stuck = [worker for worker, items in held.items() if items]
        since = f"for {limit_s:g} s"
        if not stuck:
            message = (
                f"{self.name}: no worker took a batch {since}. There are {len(held)} "
                f"workers; batches need the resources {self.resources or 'none'}."
            )
            return ClusterLost(message)
        items = [item for worker in stuck for item in held[worker]]
        shown = ", ".join(named(item) for item in items[:4])
        message = (
            f"{self.name}: no batch ended {since}. Under way on {len(stuck)} of "
            f"{len(held)} workers: {shown}{' ...' if len(items) > 4 else ''}. Last "
            f"seen in {self._frames() or 'unknown'}. Those workers were restarted; run "
            "again."
        )
        self._cancel()  # or the restarted workers would be given the same again
        self.client.restart_workers(stuck, timeout=30, raise_for_error=False)
        return StageStalled(message)

    def _frames(self) -> str:
        """Return the innermost line that each worker is in."""
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


def _on_worker(function: Callable[[Any], Any], item: Any) -> tuple[str, Any]:  # noqa: ANN401
    """Return the worker's address with the result."""
    return get_worker().address, function(item)


def named(item: object) -> str:
    """Say which units an item is."""
    if not isinstance(item, tuple):
        return f"item {item!r}"
    if len(item) == 1:
        return f"unit {item[0]}"
    return f"units {item[0]} to {item[-1]} ({len(item)})"


def _halves(item: Any) -> list[Any]:  # noqa: ANN401 - any item, but only tuples are cut
    """Cut a tuple of two units or more in two; anything else stays whole."""
    if not isinstance(item, tuple) or len(item) < 2:
        return [item]
    middle = len(item) // 2
    return [item[:middle], item[middle:]]
