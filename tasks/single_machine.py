"""Prefect on one machine: the folder of its database, who may log in, what runs."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segpipe.errors import OutputNotWritable, SettingsError
from tasks.supervising import Program, without_prefects

HOST = "127.0.0.1"
"""Never another: whoever reaches the API starts runs as this user."""
POOL = "segpipe"
"""Work pool, and the name of its worker."""
POLL_S = 5
"""How often the worker asks for runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A folder that keeps what the server must not forget."""

    folder: Path
    """Absolute."""
    port: int
    """Of the API and the UI."""

    @property
    def auth_file(self) -> Path:
        """File of the one login, ``user:password``; only its owner may read it."""
        return self.folder / "auth"

    @property
    def ui(self) -> str:
        """Where a browser finds the UI."""
        return f"http://{HOST}:{self.port}"

    @property
    def api(self) -> str:
        """Where clients find the API."""
        return f"{self.ui}/api"

    def variables(self) -> dict[str, str]:
        """Return the settings of the server, its worker and other clients."""
        login = self.auth_file.read_text(encoding="ascii").strip()
        return {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": login,
            "PREFECT_SERVER_API_AUTH_STRING": login,
            "PREFECT_SERVER_API_HOST": HOST,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
            "PREFECT_WORKER_QUERY_SECONDS": str(POLL_S),
            "PREFECT_CLI_PROMPT": "false",
            "DO_NOT_TRACK": "1",
        }

    def server(self) -> Program:
        """Return Prefect's server, with its UI and its schedule."""
        start = ("prefect", "server", "start")
        where = ("--host", HOST, "--port", str(self.port), "--log-level", "WARNING")
        return self._program("server", *start, *where)

    def worker(self) -> Program:
        """Return the worker; one run at a time, for a plan prices the whole machine."""
        start = ("prefect", "worker", "start", "--type", "process", "--limit", "1")
        names = ("--pool", POOL, "--name", POOL, "--install-policy", "never")
        return self._program("worker", *start, *names)

    def deployer(self) -> Program:
        """Return what puts the deployments in place and ends."""
        return self._program("deployer", "flows.deploying", str(self.wanted))

    @property
    def wanted(self) -> Path:
        """File that tells the deployer what to deploy."""
        return self.folder / "deploy.json"

    def _program(self, name: str, *arguments: str) -> Program:
        return Program(
            name=name,
            arguments=arguments,
            environment=without_prefects(self.variables()),
            log=self.folder / "logs" / f"{name}.log",
        )


@contextmanager
def opened(home: Home) -> Iterator[Home]:
    """Make the folder and its login if they are missing, and keep others out.

    Raises
    ------
    OutputNotWritable
        If the folder can't be made or written.
    SettingsError
        If it is being served already.
    """
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home.folder / "logs").mkdir(exist_ok=True)
        _write_login(home.auth_file)
        lock = (home.folder / "lock").open("a+")
    except OSError as error:
        message = f"The server's folder {home.folder} can't be written: {error}."
        raise OutputNotWritable(message) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            message = (
                f"{home.folder} is being served already, by process "
                f"{lock.read().strip() or 'unknown'}. Stop that one, or give another "
                "--home and --port."
            )
            raise SettingsError(message) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield home


def check_port(port: int) -> None:
    """Refuse a port that something else listens at.

    Raises
    ------
    SettingsError
        If it is taken or not allowed.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            message = (
                f"--port {port} can't be had on {HOST}: {error.strerror}. Stop what "
                "listens there, or give another port."
            )
            raise SettingsError(message) from error


def _write_login(path: Path) -> None:
    """Write a random login that only the owner may read, unless there is one."""
    made = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(made, "r+", encoding="ascii") as file:
        os.fchmod(made, 0o600)
        if ":" not in file.read():
            file.seek(0)
            file.truncate()
            file.write(f"segpipe:{secrets.token_urlsafe(24)}\n")
