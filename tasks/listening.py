"""Who hears of a run's events, without being a parameter of flows and tasks.

Prefect writes the parameters of a flow down as JSON; a progress bar can't be one. So
the command line sets the listener around the flow, and tasks, which run in the same
process and context, find it here. A flow that a Prefect worker starts has none: it is
silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from segpipe.stages.events import Event
from tasks.outcomes import Outcome

Listener = Callable[[Event | Outcome], None]


def silent(event: Event | Outcome) -> None:
    """Listen to nothing."""


_listener: ContextVar[Listener] = ContextVar("segpipe_listener", default=silent)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have the events of everything inside told to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(event: Event | Outcome) -> None:
    """Tell whoever listens."""
    _listener.get()(event)
