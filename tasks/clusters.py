"""Where the workers are: what the settings or a cluster profile say, ready for work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from distributed import Client
from distributed.comm import CommClosedError

from segpipe.config import Settings
from tasks.faults import ClusterLost
from tasks.mapping import connected
from tasks.providers import Cluster, provider_named, read_profile
from tasks.providers.address import AddressProfile
from tasks.providers.local import LocalProfile
from tasks.readiness import Readiness

TRIES = 3
"""To reach all workers of a cluster that changes."""

_cluster: ContextVar[Cluster | None] = ContextVar("segpipe_cluster", default=None)


@contextmanager
def workers(settings: Settings) -> Iterator[Cluster]:
    """Have workers, and yield how to reach them.

    Inside another such block, that one's workers: a cohort starts them once.

    Raises
    ------
    SettingsError
        If the scheduler or the cluster profile of the settings is refused.
    ClusterLost
        If workers can't be had.
    """
    if (enclosing := _cluster.get()) is not None:
        yield enclosing
        return
    with provided(settings) as cluster, connected(cluster) as client:
        _make_ready(cluster, client)
        token = _cluster.set(cluster)
        try:
            yield cluster
        finally:
            _cluster.reset(token)


def current_cluster() -> Cluster:
    """Return what the enclosing `workers` block yielded.

    Raises
    ------
    LookupError
        Outside such a block.
    """
    cluster = _cluster.get()
    if cluster is None:
        message = "No workers here: call this inside `with workers(settings):`."
        raise LookupError(message)
    return cluster


def provided(settings: Settings) -> AbstractContextManager[Cluster]:
    """Return the block of the provider that the settings choose.

    Raises
    ------
    SettingsError
        If the cluster profile can't be read.
    """
    if settings.cluster is not None:
        profile = read_profile(settings.cluster)
    elif settings.scheduler is not None:
        profile = AddressProfile(address=settings.scheduler)
    else:
        profile = LocalProfile()
    return provider_named(profile.provider).start(profile, settings)


def _make_ready(cluster: Cluster, client: Client) -> None:
    """Wait for workers, and make each ready for batches.

    Raises
    ------
    ClusterLost
        If they don't come in time, or can't import segpipe.
    """
    try:
        if cluster.n_awaited:
            client.wait_for_workers(cluster.n_awaited, timeout=cluster.wait_s)
        _register(client)
    except TimeoutError as error:
        found = len(client.nthreads())
        message = (
            f"{found} of {cluster.n_awaited} Dask workers at {cluster.address} came up "
            f"within {cluster.wait_s:g} s. Look at their logs, or work without them by "
            "--serial."
        )
        raise ClusterLost(message) from error
    except ImportError as error:
        message = (
            f"The workers at {cluster.address} can't import segpipe ({error}). Install "
            "the same version there."
        )
        raise ClusterLost(message) from error


def _register(client: Client) -> None:
    """Have every worker made ready, those that come later too.

    A worker that goes at this moment fails the call, though the others were reached.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            client.register_plugin(Readiness())
        except CommClosedError as error:
            if not tries_left:
                message = f"The workers can't be made ready, for they go: {error}"
                raise ClusterLost(message) from error
        else:
            return
