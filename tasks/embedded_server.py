"""Prefect's API for one run, in a process of its own that ends with this one.

Prefect would start such a server by itself, but only once a flow begins, and after
importing the whole server here. Started early and aside, it comes up while the slide
is planned and the workers start; as it isn't in the terminal's process group, Ctrl-C
leaves it alive long enough to hear how the run ended; and should it die, it is started
again at the same port, where Prefect's client keeps asking.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

from tasks.faults import ServerFailed
from tasks.patient_app import PatientApp

LEAN = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
}
"""What the server leaves out; registering blocks doubles the first start."""
PATIENCE_S = 300.0
"""A first start in a fresh home makes the database: 15 s on two free cores, two minutes
on cores that others keep busy."""
DRAIN_S = 3.0
"""How long the end of a run waits for events and logs to be sent."""
RESTARTS = 3
"""Starts after the first; a server that dies more often is left dead."""


_is_embedded: ContextVar[bool] = ContextVar("segpipe_embedded", default=False)


@contextmanager
def prefect_api() -> Iterator[Callable[[], None]]:
    """Have a Prefect API: the one that is configured, or an embedded one.

    Yields
    ------
    callable
        Waits until the API answers; call it before the first flow.

    Raises
    ------
    ServerFailed
        From the callable, if the embedded server doesn't come up.
    """
    from prefect.settings import (  # noqa: PLC0415 - a second of import
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    if PREFECT_API_URL.value() is not None:
        yield lambda: None
        return
    with tempfile.TemporaryFile("w+") as log, _running(_Server(log=log)) as server:
        # Heartbeats are for watchers, and this server has none; each costs a second.
        settings = {
            PREFECT_API_URL: f"http://127.0.0.1:{server.port}/api",
            PREFECT_API_AUTH_STRING: server.login,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        token = _is_embedded.set(True)
        with temporary_settings(settings):
            try:
                yield server.wait
            finally:
                _is_embedded.reset(token)
                _send_what_is_queued()


def is_embedded() -> bool:
    """Whether Prefect's API is one that ends with this run, so that no one looks."""
    return _is_embedded.get()


def _new_login() -> str:
    return f"segpipe:{secrets.token_urlsafe(32)}"


@dataclass(slots=True, kw_only=True)
class _Server:
    """The server's process, and another one at the same port should it die."""

    log: IO[str]
    """What it says on stderr."""
    port: int = 0
    """Chosen by the first process."""
    login: str = field(default_factory=_new_login, repr=False)
    """What clients must say: other users of this machine reach loopback, too."""
    process: subprocess.Popen[str] | None = None
    changing: threading.Lock = field(default_factory=threading.Lock)
    """Held while the process is started or ended."""
    has_ended: bool = False

    def start(self) -> None:
        """Start the process; it says its port at once, and answers seconds later."""
        with self.changing:
            if self.has_ended:
                return
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "tasks.embedded_server", str(self.port)],
                env=self._environment(),
                stdin=subprocess.PIPE,  # its end tells the server to go
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
                start_new_session=True,
            )
            said = self.process.stdout.readline() if self.process.stdout else ""
            self.port = int(said or self.port)

    def wait(self) -> None:
        """Wait until the API answers; from then on, keep the server up.

        Raises
        ------
        ServerFailed
            If it doesn't answer, or the process ends.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._is_alive():
            if answers(self.port):
                threading.Thread(target=self._keep_up, daemon=True).start()
                return
            time.sleep(0.05)
        self.log.seek(0)
        last = self.log.read().strip().splitlines()[-1:] or ["no message"]
        home = os.environ.get("PREFECT_HOME", "~/.prefect")
        message = (
            f"Prefect's embedded server didn't come up: {last[0]}. Its database is in "
            f"{home}; set PREFECT_HOME to a folder that can be written, or run with "
            "--serial, which needs no server."
        )
        raise ServerFailed(message)

    def end(self) -> None:
        """End the process, by force if it must be."""
        with self.changing:
            self.has_ended = True
            if self.process is not None:
                _end(self.process)

    def _environment(self) -> dict[str, str]:
        own = {
            "PREFECT_SERVER_API_AUTH_STRING": self.login,
            "PYTHONPATH": os.pathsep.join(import_path()),
        }
        return os.environ | LEAN | own

    def _is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _keep_up(self) -> None:
        for _ in range(RESTARTS):
            if self.process is not None:
                self.process.wait()
            self.start()


@contextmanager
def _running(server: _Server) -> Iterator[_Server]:
    server.start()
    try:
        yield server
    finally:
        server.end()


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _send_what_is_queued() -> None:
    """Let the server hear the last states and log lines before it goes."""
    from prefect.events.worker import EventsWorker  # noqa: PLC0415
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415

    EventsWorker.drain_all(timeout=DRAIN_S, at_exit=False)
    APILogWorker.drain_all(timeout=DRAIN_S, at_exit=False)


def import_path() -> list[str]:
    """Return where this package is found first, before a folder of that name nearby."""
    given = os.environ.get("PYTHONPATH", "")
    return [str(Path(__file__).parents[1]), *filter(None, given.split(os.pathsep))]


def answers(port: int) -> bool:
    """Whether a server on this machine says that it is well."""
    url = f"http://127.0.0.1:{port}/api/health"
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _serve(port: int) -> None:
    """Be the server: bind, say the port, and serve until stdin ends."""
    listening = socket.create_server(("127.0.0.1", port))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import uvicorn  # noqa: PLC0415 - only the server's process needs them
    from prefect.server.api.server import create_app  # noqa: PLC0415

    app = PatientApp(create_app(ephemeral=True, final=True))
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
