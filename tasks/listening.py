"""Who hears of a run's events, without being a parameter of flows and tasks.

Prefect writes the parameters of a flow down as JSON; a progress bar can't be one. So
listeners are set around the flow, and tasks, which run in the same process and context,
find them here. Slides that are under way at once tell from several threads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock

from segpipe.stages.events import Event, RunEvent
from tasks.outcomes import Outcome

News = Event | RunEvent | Outcome
"""What there is to hear."""
Listener = Callable[[News], None]


def silent(event: News) -> None:
    """Listen to nothing."""


_listener: ContextVar[Listener] = ContextVar("segpipe_listener", default=silent)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have the events of everything inside told to a listener, and to no other."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def listening_too(listener: Listener) -> Iterator[None]:
    """Have the events of everything inside told to a listener also."""
    with listening(together(_listener.get(), listener)):
        yield


def is_listening() -> bool:
    """Whether there is a listener around this."""
    return _listener.get() is not silent


def tell(event: News) -> None:
    """Tell whoever listens."""
    _listener.get()(event)


def together(*listeners: Listener) -> Listener:
    """Return a listener that passes every event on to several, in order."""
    heard_by = [listener for listener in listeners if listener is not silent]
    if len(heard_by) == 1:
        return heard_by[0]

    def all_of_them(event: News) -> None:
        for listener in heard_by:
            listener(event)

    return all_of_them if heard_by else silent


def harmless(listener: Listener, name: str) -> Listener:
    """Return a listener that is told one event at a time, and can't fail the run.

    At its first error it is left out for the rest of the run, and stderr says so.

    Parameters
    ----------
    listener
        A view of the run.
    name
        What the message calls it.
    """
    one_at_a_time = RLock()
    given_up: list[Exception] = []

    def told(event: News) -> None:
        with one_at_a_time:
            if given_up:
                return
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a view is never worth a run
                given_up.append(error)
                sys.stderr.write(f"note: the {name} stops here: {error!r}\n")

    return told
