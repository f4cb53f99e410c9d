"""Where the workers are: this machine's own, or those of a scheduler at an address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import urlsplit

from segpipe.config import Settings
from segpipe.errors import SettingsError
from tasks.faults import ClusterLost
from tasks.local_cluster import local_cluster
from tasks.mapping import connected
from tasks.readiness import Readiness

WAIT_S = 120.0
"""How long workers may take to come and to be ready."""

_address: ContextVar[str | None] = ContextVar("segpipe_scheduler", default=None)


@contextmanager
def workers(settings: Settings) -> Iterator[str]:
    """Have workers, and yield their scheduler's address.

    Inside another such block, that one's workers: a cohort starts them once.

    Raises
    ------
    SettingsError
        If ``settings.scheduler`` is refused; see `checked_address`.
    ClusterLost
        If workers can't be had.
    """
    if (enclosing := _address.get()) is not None:
        yield enclosing
        return
    source = _remote(settings.scheduler) if settings.scheduler else _local(settings)
    with source as address:
        token = _address.set(address)
        try:
            yield address
        finally:
            _address.reset(token)


def current_address() -> str:
    """Return the address that the enclosing `workers` block yielded.

    Raises
    ------
    LookupError
        Outside such a block.
    """
    address = _address.get()
    if address is None:
        message = "No workers here: call this inside `with workers(settings):`."
        raise LookupError(message)
    return address


def checked_address(address: str) -> str:
    """Return the address of a scheduler if it may be connected to.

    Raises
    ------
    SettingsError
        If it isn't ``tcp://host:port`` or ``tls://host:port``, or is ``tcp`` to
        another machine: whoever reaches an unencrypted scheduler runs code on its
        workers, and whoever listens in reads along.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"tcp", "tls"} or not parts.hostname or not _port(address):
        message = (
            f"--scheduler {address} is no scheduler address. It looks like "
            "tcp://127.0.0.1:8786 or tls://host:8786."
        )
        raise SettingsError(message)
    if parts.scheme == "tcp" and not _is_loopback(parts.hostname):
        message = (
            f"--scheduler {address} is on another machine and not encrypted: anyone "
            "who reaches an open scheduler runs code on its workers. Start it with TLS "
            "certificates and use tls://, or use a scheduler on this machine."
        )
        raise SettingsError(message)
    return address


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _local(settings: Settings) -> Iterator[str]:
    with local_cluster(settings) as (address, n_workers):
        _make_ready(address, n_workers)
        yield address


@contextmanager
def _remote(address: str) -> Iterator[str]:
    _make_ready(checked_address(address), n_workers=1)
    yield address


def _make_ready(address: str, n_workers: int) -> None:
    """Wait for workers, and make each ready for batches.

    Raises
    ------
    ClusterLost
        If they don't come in time, or can't import segpipe.
    """
    with connected(address) as client:
        try:
            client.wait_for_workers(n_workers, timeout=WAIT_S)
            client.register_plugin(Readiness())
        except TimeoutError as error:
            found = len(client.nthreads())
            message = (
                f"{found} of {n_workers} Dask workers at {address} came up within "
                f"{WAIT_S:g} s. Look at their logs, or work without them by --serial."
            )
            raise ClusterLost(message) from error
        except ImportError as error:
            message = (
                f"The workers at {address} can't import segpipe ({error}). Install the "
                "same version there."
            )
            raise ClusterLost(message) from error
