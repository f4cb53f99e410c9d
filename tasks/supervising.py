"""Programs that are kept up: started again when they end, but not for ever."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tasks.embedded_server import import_path
from tasks.faults import ServerFailed
from tasks.leash import MARK, kill_marked, marked

RESTARTS = 3
"""Starts after the first that a program gets within `WINDOW_S`."""
WINDOW_S = 600.0
"""After so long a restart is forgotten: a service runs for months."""
LOG_BYTES = 10 * 2**20
"""A log that is longer when its program starts is put aside as ``.1``."""
GRACE_S = 5.0
"""How long flow runs get to say that they were stopped."""
END_S = 1.5
"""How long a program that is ended gets before it is killed."""


@dataclass(slots=True, kw_only=True)
class Program:
    """A Python module that runs behind our leash, its output in a file."""

    name: str
    """What it is called in messages."""
    arguments: tuple[str, ...]
    """Module and arguments."""
    environment: Mapping[str, str]
    """All of its environment but the mark."""
    log: Path
    """Where stdout and stderr go; appended."""
    process: subprocess.Popen[bytes] | None = None
    started_s: deque[float] = field(default_factory=deque)
    """When it was started, as far as that still counts."""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    """Tells the processes that it started, directly or not."""

    def command(self) -> list[str]:
        """Return the command line; no secret is in it."""
        return [sys.executable, "-P", "-m", "tasks.leash", *self.arguments]

    def start(self) -> None:
        """Start it, away from the terminal's Ctrl-C."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        self._close_leash()
        leash = {"PYTHONPATH": os.pathsep.join(import_path()), MARK: self.mark}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                self.command(),
                env={**self.environment, **leash},
                cwd=self.log.parent,
                stdin=subprocess.PIPE,  # the leash
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started_s.append(time.monotonic())

    def exit_code(self) -> int | None:
        """Return how it ended, or ``None`` while it runs."""
        return None if self.process is None else self.process.poll()

    def start_again(self) -> None:
        """Start it after it ended.

        Raises
        ------
        ServerFailed
            If it ended too often.
        """
        now = time.monotonic()
        while self.started_s and now - self.started_s[0] > WINDOW_S:
            self.started_s.popleft()
        if len(self.started_s) > RESTARTS:
            message = (
                f"{self.name} ended {len(self.started_s)} times within "
                f"{WINDOW_S / 60:.0f} minutes, the last time with exit code "
                f"{self.exit_code()}: {self.last_line()} Its log is {self.log}."
            )
            raise ServerFailed(message)
        self.start()

    def last_line(self) -> str:
        """Return the last line of its log."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(-min(4096, self.log.stat().st_size), os.SEEK_END)
            lines = log.read().decode(errors="replace").strip().splitlines()
            return lines[-1].strip() if lines else "it said nothing."
        return "it has no log."

    def end_flow_runs(self) -> None:
        """Ask the flow runs that it started to stop, and wait until they have.

        They tell the server that they were stopped; what they finished is on disk.
        """
        asked = [process for process in marked(self.mark) if _is_flow_run(process)]
        for process in asked:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(asked, timeout=GRACE_S)

    def end(self) -> None:
        """End it, by force if it must be, and whatever it started."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._close_leash()
        self.kill_rest()

    def kill_rest(self) -> None:
        """Kill what it started and left behind."""
        kill_marked(self.mark)

    def _close_leash(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


def without_prefects(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, with some variables for those of Prefect."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return ours | dict(variables)


def _is_flow_run(process: psutil.Process) -> bool:
    try:
        return "prefect.engine" in process.cmdline()
    except psutil.Error:
        return False
