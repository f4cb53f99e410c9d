"""Processes as they are told apart on all hosts, and whether one is alive.

On this host, pid, start time, boot and pid namespace say which process is meant, and
whether it is gone. Of another host's processes one look tells nothing.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["free", "held", "unknown"]
"""What one look tells: the holder is gone, alive, or it can't be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process, told apart from all others of all hosts and times."""

    host: str
    """Name of the host."""
    boot: str
    """Id of the boot of its kernel; empty where the system doesn't tell."""
    pid_space: str
    """Namespace of its pid: two containers of a host both have a process 1."""
    pid: int
    """Number of the process."""
    started: int
    """When it started, in ticks since the boot."""

    @classmethod
    def here(cls) -> Holder:
        """Return this process."""
        found = _started(os.getpid())
        return cls(
            host=socket.gethostname(),
            boot=_read_text("/proc/sys/kernel/random/boot_id").strip(),
            pid_space=_pid_space(),
            pid=os.getpid(),
            started=0 if found is None else found[0],
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def judge_process(holder: Holder) -> Verdict:
    """Say at one look whether a process lives; a stopped one may or may not go on."""
    here = Holder.here()
    if not here.boot or not _is_beside(holder, here):
        return "unknown"
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return "free"
    except PermissionError:
        pass  # it lives, as another user's
    found = _started(holder.pid)
    if found is None:
        return "unknown"
    started, state = found
    if started != holder.started or state in "ZX":
        return "free"
    return "unknown" if state in "Tt" else "held"


def _is_beside(holder: Holder, here: Holder) -> bool:
    """Whether a holder's pid means the same process here."""
    places = [(h.host, h.boot, h.pid_space) for h in (holder, here)]
    return places[0] == places[1]


def _started(pid: int) -> tuple[int, str] | None:
    """Return when a process started, in ticks since the boot, and its state."""
    fields = _read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[19]), fields[0]) if fields else None


def _pid_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
