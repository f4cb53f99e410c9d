"""Certificates: who may reach a scheduler, and how nobody else does.

A scheduler runs the code it is sent, so beyond loopback both sides of a connection show
a certificate, and only those that the cluster's own authority (CA) has signed are let
in. Host names are not checked: the authority signs for this cluster only.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from distributed.security import Security

from segpipe.config import Frozen
from segpipe.errors import SettingsError
from tasks.providers._provider import NearPath

ROLES = ("client", "scheduler", "worker")


class Tls(Frozen):
    """Files in PEM form; relative paths begin in the profile's folder."""

    ca: NearPath
    """Certificate of the authority that signed everyone's."""
    cert: NearPath
    """Certificate shown to the other side."""
    key: NearPath
    """Its private key, unencrypted."""


def security_of(tls: Tls) -> Security:
    """Return what Dask needs to use these files, in whatever role.

    Raises
    ------
    SettingsError
        If a file can't be read, or key and certificate don't belong together.
    """
    fields: dict[str, Any] = {"tls_ca_file": str(tls.ca)}
    for role in ROLES:
        fields[f"tls_{role}_cert"] = str(tls.cert)
        fields[f"tls_{role}_key"] = str(tls.key)
    security = Security(require_encryption=True, **fields)
    try:
        security.get_connection_args("client")
    except (OSError, ssl.SSLError) as error:
        files = f"ca {tls.ca}, cert {tls.cert}, key {tls.key}"
        message = (
            f"The TLS files won't do ({error}): {files}. Each must be a PEM file that "
            "can be read, and the key that of the certificate."
        )
        raise SettingsError(message) from error
    return security


def is_complete(security: Security) -> bool:
    """Whether these certificates can be shown to a scheduler."""
    return bool(security.tls_ca_file and security.tls_client_cert)


@contextmanager
def worker_files(security: Security, folder: Path) -> Iterator[Tls]:
    """Have a worker's certificates as files; those only in memory are written.

    Parameters
    ----------
    security
        Of the cluster.
    folder
        One that the workers' hosts see too. What is written there can be read by its
        owner only, and is removed at the end.
    """
    said = security.get_tls_config_for_role("worker")
    with ExitStack() as stack:

        def as_file(name: str) -> Path:
            value = str(said[name])
            if "\n" not in value:
                return Path(value)
            file = stack.enter_context(
                tempfile.NamedTemporaryFile("w", prefix=f".{name}-", dir=folder)
            )
            file.write(value)
            file.flush()
            return Path(file.name)

        yield Tls(ca=as_file("ca_file"), cert=as_file("cert"), key=as_file("key"))
