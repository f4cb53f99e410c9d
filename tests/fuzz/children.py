"""Processes that do one trial after the other under limits, and may die of it.

They are forked from a process that has imported everything, so that one costs
milliseconds; one that dies, hangs or grows is replaced, and its trial is told.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

from segpipe.errors import SegpipeError

CPU_LIMIT_S = 20.0
"""Seconds of computing a trial may take."""
WALL_LIMIT_S = 120.0
"""Seconds until a trial that computes nothing is given up."""
MEMORY_LIMIT_BYTES = 2**30
"""What a trial may add to the memory of its process."""
ADDRESS_LIMIT_BYTES = 4 * 2**30
"""What it may ask for before the system refuses: it protects the machine."""
FINE = "read"
"""Name of the outcome of a slide that is still sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial went."""

    name: str
    """``read``, the class of the error, or what went wrong with the process."""
    is_defect: bool
    """Whether it is none of those that segpipe promises."""
    told: str = ""
    """The message, or the traceback of a defect."""
    peak_bytes: int = 0
    """Memory added at the most."""
    cpu_s: float = 0.0
    """Seconds of computing."""


@dataclass(slots=True, kw_only=True)
class _Child:
    pid: int
    asked: int
    """Descriptor to write a path to."""
    told: int
    """Descriptor to read an outcome from."""
    path: Path | None = None
    since: float = 0.0
    cpu_before: float = 0.0


def outcomes(
    trial: Callable[[Path], None], paths: Iterable[Path], *, n_children: int = 2
) -> Iterator[tuple[Path, Outcome]]:
    """Yield how each trial went, in no order; files may be made while this goes on."""
    waiting = iter(paths)
    children = [_forked(trial) for _ in range(n_children)]
    selector = DefaultSelector()
    try:
        for child in children:
            selector.register(child.told, EVENT_READ, child)
            _ask(child, next(waiting, None))
        while any(child.path for child in children):
            ready = [key.data for key, _ in selector.select(timeout=0.2)]
            for child in list(children):
                ended = _heard(child) if child in ready else _over_limit(child)
                if ended is None or child.path is None:
                    continue
                path, successor = child.path, child
                if ended.is_defect and not _is_alive(child):
                    selector.unregister(child.told)
                    children.remove(child)
                    _buried(child)
                    successor = _forked(trial)
                    children.append(successor)
                    selector.register(successor.told, EVENT_READ, successor)
                _ask(successor, next(waiting, None))
                yield path, ended
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            _buried(child)


def _ask(child: _Child, path: Path | None) -> None:
    child.path, child.since = path, time.monotonic()
    child.cpu_before = _cpu_s(child.pid)
    if path is not None:
        os.write(child.asked, f"{path}\n".encode())


def _heard(child: _Child) -> Outcome:
    """Read what a child says; one that says nothing has died."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(child.told, 2**16)
        if not part:
            return _death(child)
        line += part
    return Outcome(**json.loads(line))


def _death(child: _Child) -> Outcome:
    _, status = os.waitpid(child.pid, 0)
    child.pid = 0
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    name = signal.Signals(number).name if number else f"exit {os.WEXITSTATUS(status)}"
    return Outcome(name=name, is_defect=True, told="the process died")


def _over_limit(child: _Child) -> Outcome | None:
    if child.path is None:
        return None
    cpu_s = _cpu_s(child.pid) - child.cpu_before
    wall_s = time.monotonic() - child.since
    if cpu_s < CPU_LIMIT_S and wall_s < WALL_LIMIT_S:
        return None
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    child.pid = 0
    told = f"{cpu_s:.0f} s of computing, {wall_s:.0f} s in all"
    return Outcome(name="hang", is_defect=True, told=told, cpu_s=cpu_s)


def _is_alive(child: _Child) -> bool:
    return child.pid != 0


def _buried(child: _Child) -> None:
    for descriptor in (child.asked, child.told):
        os.close(descriptor)
    if child.pid:
        os.waitpid(child.pid, 0)


def _cpu_s(pid: int) -> float:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def _forked(trial: Callable[[Path], None]) -> _Child:
    asked_there, asked = os.pipe()
    told, told_there = os.pipe()
    pid = os.fork()
    if pid == 0:
        for descriptor in (asked, told):
            os.close(descriptor)
        try:
            _serve(trial, asked_there, told_there)
        finally:
            os._exit(0)
    for descriptor in (asked_there, told_there):
        os.close(descriptor)
    return _Child(pid=pid, asked=asked, told=told)


def _serve(trial: Callable[[Path], None], asked: int, told: int) -> None:
    """Be a child: do trials until no one asks for more."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    used = _status_bytes("VmSize")
    most = used + ADDRESS_LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdin = os.fdopen(asked)
    for line in sys.stdin:
        outcome = _tried(trial, Path(line.rstrip("\n")))
        os.write(told, (json.dumps(outcome) + "\n").encode())


def _tried(trial: Callable[[Path], None], path: Path) -> dict[str, object]:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start = _status_bytes("VmRSS"), time.process_time()
    name, is_defect, said = FINE, False, ""
    try:
        trial(path)
    except SegpipeError as error:
        name, said = type(error).__name__, str(error)
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        name, is_defect = type(error).__name__, True
        said = "".join(traceback.format_exception(error))[-4000:]
    peak = _status_bytes("VmHWM") - before
    if peak > MEMORY_LIMIT_BYTES:
        name, is_defect = "memory", True
        said = f"{peak / 2**20:.0f} MiB added; {said}"
    return {
        "name": name,
        "is_defect": is_defect,
        "told": said,
        "peak_bytes": peak,
        "cpu_s": time.process_time() - start,
    }


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)
