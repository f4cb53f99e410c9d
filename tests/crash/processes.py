"""The processes of a run: started with a mark, found by it, killed, counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen

import psutil

ROOT = Path(__file__).parents[2]
MARK = "SEGPIPE_CRASH_TEST"
"""Variable in the environment of every process of a run, by which it is found."""
WORDS = {
    "worker": "multiprocessing.spawn",
    "scheduler": "distributed.cli.dask_scheduler",
    "server": "tasks.embedded_server",
}
"""By which a process is told from the others of a run."""
HUNG_S = 600.0
"""A run that takes longer is hung."""
ORPHANED_S = 30.0
"""Processes that outlive their run for longer are left behind."""


def environment(mark: str) -> dict[str, str]:
    """Return the environment of a run and of all processes it starts."""
    return os.environ | {MARK: mark, "PYTHONPATH": str(ROOT)}


def start_segpipe(
    words: list[str], mark: str, variables: Mapping[str, str]
) -> Popen[str]:
    """Start the command line."""
    return Popen(
        [sys.executable, "-P", "-m", "flows.cli", *words],
        env=environment(mark) | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(run: Popen[str]) -> tuple[int | None, str]:
    """Return the exit code and the last line of a run; no code if it hung."""
    try:
        _, said = run.communicate(timeout=HUNG_S)
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        return None, "hung"
    lines = said.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    return run.returncode, (errors or lines or [""])[-1]


def started_as(kind: str, mark: str) -> list[int]:
    """Return the processes of a kind that a run has."""
    return sorted(pid for pid, line in _marked(mark) if WORDS[kind] in line)


def kill(pid: int) -> None:
    """End a process of ours at once."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def left_behind(mark: str) -> int:
    """Return how many processes outlive their run, and end them."""
    deadline = time.monotonic() + ORPHANED_S
    while (found := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid, _ in found:
        kill(pid)
    return len(found)


def _marked(mark: str) -> list[tuple[int, str]]:
    """Return the processes of a run, and what they were started as."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_marked = process.environ().get(MARK) == mark
            if is_marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process.pid, " ".join(process.cmdline())))
    return found


@contextmanager
def scheduler(file: Path, mark: str) -> Iterator[str]:
    """Have a Dask scheduler and two workers, each in a process of its own."""
    alone = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    workers = ["--nworkers", "2", "--nthreads", "1", "--death-timeout", "20"]
    processes = [_start_dask("scheduler", ["--port", "0", *alone], mark)]
    try:
        while not file.exists() and processes[0].poll() is None:
            time.sleep(0.05)
        processes.append(_start_dask("worker", [*workers, *alone], mark))
        yield _address(file)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()


def _start_dask(kind: str, words: list[str], mark: str) -> Popen[bytes]:
    return Popen(
        [sys.executable, "-P", "-m", f"distributed.cli.dask_{kind}", *words],
        env=environment(mark),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _address(file: Path) -> str:
    while True:
        with suppress(ValueError):
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.05)
