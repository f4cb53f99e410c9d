"""Prefect's API for one run, in a process of its own that ends with this one.

Prefect would start such a server by itself, but only once a flow begins, and after
importing the whole server here. Started early and aside, it comes up while the slide is
planned and the workers start; and as it isn't in the terminal's process group, Ctrl-C
leaves it alive long enough to hear how the run ended.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

from tasks.faults import ServerFailed

LEAN = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
}
"""What the server leaves out; registering blocks doubles the first start."""
PATIENCE_S = 120.0
"""A first start in a fresh home makes the database: 15 s on two free cores."""


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
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    if PREFECT_API_URL.value() is not None:
        yield lambda: None
        return
    with tempfile.TemporaryFile("w+") as log, _server(log) as (process, port):
        # Heartbeats are for watchers, and this server has none; each costs a second.
        settings = {
            PREFECT_API_URL: f"http://127.0.0.1:{port}/api",
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        with temporary_settings(settings):
            yield lambda: _wait(process, port, log)


@contextmanager
def _server(log: IO[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tasks.embedded_server"],
        env=os.environ | LEAN | {"PYTHONPATH": os.pathsep.join(_import_path())},
        stdin=subprocess.PIPE,  # its end tells the server to go
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    try:
        said = process.stdout.readline() if process.stdout else ""
        yield process, int(said or 0)
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _import_path() -> list[str]:
    """Return where this package is found first, before a folder of that name nearby."""
    given = os.environ.get("PYTHONPATH", "")
    return [str(Path(__file__).parents[1]), *filter(None, given.split(os.pathsep))]


def _wait(process: subprocess.Popen[str], port: int, log: IO[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(port):
            return
        time.sleep(0.05)
    log.seek(0)
    last = log.read().strip().splitlines()[-1:] or ["no message"]
    message = (
        f"Prefect's embedded server didn't start within {PATIENCE_S:g} s: {last[0]}. "
        f"It keeps its database in PREFECT_HOME ({os.environ.get('PREFECT_HOME')}); "
        "set that to a writable folder, or run with --serial, which needs no server."
    )
    raise ServerFailed(message)


def _answers(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/api/health"
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _serve() -> None:
    """Be the server: bind, say the port, and serve until stdin ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import uvicorn  # noqa: PLC0415 - only the server's process needs them
    from prefect.server.api.server import create_app  # noqa: PLC0415

    app = create_app(ephemeral=True, final=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve()
