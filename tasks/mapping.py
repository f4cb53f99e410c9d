"""A ``map`` over the workers of a Dask cluster that survives what clusters do.

It gives the same results as the builtin, in any order. Only the batch (a tuple of unit
numbers) travels to a worker and only a receipt travels back; pixels stay in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from distributed import Client

from segpipe.stages._stage import Mapper
from tasks.faults import ClusterLost
from tasks.flight import Flight, Patience

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def dask_map(
    address: str,
    *,
    name: str = "batch",
    resources: Mapping[str, float] | None = None,
    patience: Patience | None = None,
) -> Iterator[Mapper]:
    """Connect to a scheduler and yield a mapper over its workers.

    The mapper yields what `tasks.flight.Flight.results` does, and raises the same. On
    leaving, also by an error or Ctrl-C, everything still queued is cancelled.

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
        If no scheduler answers there.
    """
    with connected(address) as client:

        def mapper(
            function: Callable[[Item], Result], items: Iterable[Item], /
        ) -> Iterator[Result]:
            flight = Flight(
                client=client,
                function=function,
                fresh=iter(items),
                name=name,
                resources=dict(resources or {}),
                patience=patience or Patience(),
            )
            return flight.results()

        yield mapper


@contextmanager
def connected(address: str, *, timeout_s: float = 30.0) -> Iterator[Client]:
    """Connect to a scheduler; on leaving, its work for this client is cancelled.

    Raises
    ------
    ClusterLost
        If no scheduler answers at the address in time.
    """
    try:
        client = Client(address, set_as_default=False, timeout=timeout_s)
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
