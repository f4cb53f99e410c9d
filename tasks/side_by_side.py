"""Several slides under way at once: a map in threads that can be stopped.

A cluster of many workers starves on one small slide after the other: each stage waits
for its last batch, and the steps between stages are the driver's. So a few slides are
under way together, each in a thread, over the same workers. Batches wait for workers,
so these threads mostly wait too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

END_S = 8.0
"""How long those under way are waited for when all is to stop."""
LOOK_S = 0.5
"""Ctrl-C is heard so soon."""

_stop: ContextVar[threading.Event | None] = ContextVar("segpipe_stop", default=None)


class Stopped(KeyboardInterrupt):
    """What is raised in the threads of slides that are to stop with the others."""


def raise_if_stopped() -> None:
    """Raise if slides under way at once are to stop; called between batches.

    Raises
    ------
    Stopped
        If this is a thread of `side_by_side` and another one has failed, or the
        results aren't wanted any more.
    """
    stop = _stop.get()
    if stop is not None and stop.is_set():
        message = "Stopped with the other slides."
        raise Stopped(message)


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], *, at_once: int
) -> Generator[Result]:
    """Yield the function's results as they come, with several calls under way.

    Each call runs in a thread that has a copy of the caller's context variables. One
    at a time is the builtin ``map``, in the caller's thread.

    Parameters
    ----------
    function, items
        As for ``map``; an item is taken when there is room for it.
    at_once
        Calls under way at most.

    Raises
    ------
    Exception
        The first that the function raises. The other calls are stopped before.
    """
    if at_once == 1:
        yield from map(function, items)
        return
    calls: _Calls[Item, Result] = _Calls(function=function)
    try:
        for item in items:
            calls.begin(item)
            if len(calls.under_way) == at_once:
                yield calls.next_result()
        while calls.under_way:
            yield calls.next_result()
    finally:
        calls.end()


@dataclass(slots=True, kw_only=True)
class _Calls(Generic[Item, Result]):
    """Calls in threads, and what came of them."""

    function: Callable[[Item], Result]
    under_way: set[threading.Thread] = field(default_factory=set)
    ended: SimpleQueue[_Ended[Result]] = field(default_factory=SimpleQueue)
    stop: threading.Event = field(default_factory=threading.Event)

    def begin(self, item: Item) -> None:
        context = copy_context()
        context.run(_stop.set, self.stop)
        thread = threading.Thread(
            target=context.run, args=(self._call, item), daemon=True, name="slide"
        )
        self.under_way.add(thread)
        thread.start()

    def _call(self, item: Item) -> None:
        thread = threading.current_thread()
        try:
            result = self.function(item)
        except BaseException as error:  # noqa: BLE001 - raised again by who asks
            self.ended.put(_Ended(thread=thread, error=error))
        else:
            self.ended.put(_Ended(thread=thread, results=(result,)))

    def next_result(self) -> Result:
        """Wait for a call to end; in short naps, for Ctrl-C interrupts no long one."""
        while True:
            try:
                ended = self.ended.get(timeout=LOOK_S)
            except Empty:
                continue
            self.under_way.discard(ended.thread)
            if ended.error is not None:
                raise ended.error
            return ended.results[0]

    def end(self) -> None:
        """Stop what is under way, and wait a while for it."""
        self.stop.set()
        deadline = time.monotonic() + END_S
        for thread in self.under_way:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended(Generic[Result]):
    """How a call ended."""

    thread: threading.Thread
    results: tuple[Result, ...] = ()
    """What it returned, unless it raised."""
    error: BaseException | None = None
    """What it raised."""
