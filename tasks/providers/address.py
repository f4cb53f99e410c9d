"""Workers of a scheduler that somebody else runs, found by its address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal
from urllib.parse import urlsplit

from distributed.security import Security
from pydantic import Field

from segpipe.config import Settings
from segpipe.errors import SettingsError
from tasks.providers._provider import Cluster, Profile, Provider
from tasks.providers._tls import Tls, is_complete, security_of


class AddressProfile(Profile):
    """A running scheduler."""

    provider: Literal["address"] = "address"
    address: str
    """``tls://host:8786``, or ``tcp://`` on this machine."""
    tls: Tls | None = None
    """Needed for ``tls://``, unless Dask's own configuration names the files."""
    min_workers: Annotated[int, Field(ge=0)] = 1
    """Workers to wait for; 0 if it starts them when there is work."""
    max_threads: Annotated[int, Field(ge=0)] = 0
    """Threads it may grow to, if it does; so much work is kept in its sight."""


@contextmanager
def start(profile: AddressProfile, _settings: Settings) -> Iterator[Cluster]:
    """Use what is there; nothing is started, and nothing ended."""
    yield Cluster(
        address=checked_address(profile.address),
        security=_security(profile),
        n_awaited=profile.min_workers,
        most_threads=profile.max_threads,
        wait_s=profile.wait_s,
    )


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


def _security(profile: AddressProfile) -> Security | None:
    if not profile.address.startswith("tls://"):
        return None
    if profile.tls is not None:
        return security_of(profile.tls)
    configured = Security()
    if is_complete(configured):
        return configured
    message = (
        f"{profile.address} wants certificates, and there are none. Name them in a "
        'cluster profile (provider = "address", [tls] with ca, cert and key; '
        "--cluster FILE), or in Dask's configuration (distributed.comm.tls)."
    )
    raise SettingsError(message)


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


PROVIDER = Provider(profile=AddressProfile, start=start)
