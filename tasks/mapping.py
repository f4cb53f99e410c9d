"""A ``map`` over the workers of a Dask cluster that survives what clusters do.

It gives the same results as the builtin, in any order. Only the batch (a tuple of unit
numbers) travels to a worker and only a receipt travels back; pixels stay in the store.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from distributed import Client

from segpipe.stages._stage import Mapper
from tasks.faults import ClusterLost
from tasks.flight import Flight, Patience
from tasks.providers import Cluster
from tasks.witness import Nobody, Witness

Item = TypeVar("Item")
Result = TypeVar("Result")

_connection: ContextVar[tuple[Cluster, Client] | None] = ContextVar(
    "segpipe_connection", default=None
)


@contextmanager
def dask_map(
    cluster: Cluster,
    *,
    name: str = "batch",
    resources: Mapping[str, float] | None = None,
    patience: Patience | None = None,
    witness: Witness | None = None,
) -> Iterator[Mapper]:
    """Connect to a scheduler and yield a mapper over its workers.

    The mapper yields what `tasks.flight.Flight.results` does, and raises the same. On
    leaving, also by an error or Ctrl-C, everything still queued is cancelled.

    Parameters
    ----------
    cluster
        Where the scheduler is, and how large the cluster may get.
    name
        What the batches are called in Dask's keys and in messages.
    resources
        Dask resources each batch needs, e.g. ``{"GPU": 1}``.
    patience
        Window, tries and watchdog.
    witness
        Who is told of batches that are tried again, and of workers that are gone.

    Raises
    ------
    ClusterLost
        If no scheduler answers there.
    """
    with connected(cluster) as client:

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
                witness=witness or Nobody(),
                most_threads=cluster.most_threads,
                wait_s=cluster.wait_s,
            )
            return flight.results()

        yield mapper


@contextmanager
def connected(cluster: Cluster, *, timeout_s: float = 30.0) -> Iterator[Client]:
    """Connect to a scheduler; on leaving, its work for this client is cancelled.

    Inside another such block for the same cluster, that one's connection: making one
    costs as much as ten batches, and a run needs it at each stage of each slide.

    Raises
    ------
    ClusterLost
        If no scheduler answers at the address in time, or one of the two sides doesn't
        take the other's certificate.
    """
    enclosing = _connection.get()
    if enclosing is not None and enclosing[0] is cluster:
        yield enclosing[1]
        return
    try:
        client = Client(
            cluster.address,
            security=cluster.security,
            set_as_default=False,
            timeout=timeout_s,
        )
    except OSError as error:
        raise ClusterLost(_unreached(cluster, error)) from error
    token = _connection.set((cluster, client))
    try:
        yield client
    finally:
        _connection.reset(token)
        client.close(timeout=5)


def _unreached(cluster: Cluster, error: BaseException) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return (
            f"The scheduler at {cluster.address} and this machine don't take each "
            f"other's certificates ({causes[-1]}). Both must be signed by the same CA; "
            "look at ca, cert and key under [tls] of the cluster profile."
        )
    return (
        f"No Dask scheduler answers at {cluster.address} ({error}). Start it, or leave "
        "--scheduler and --cluster out to use this machine's own workers."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
