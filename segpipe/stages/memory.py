"""Memory for a run: what is free, and what its processes hold already.

Linux limits the memory of a container, and of a job on a cluster, by control groups, of
which the host's own numbers know nothing. Groups lie in each other, and each counts.

The files: https://docs.kernel.org/admin-guide/cgroup-v2.html, and of version 1
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path("/")
"""Where the files of the system are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeMemory:
    """Memory that can still be taken."""

    n_bytes: int
    limit: Path | None = None
    """The file of the limit that leaves so little; None if the machine has no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMemory:
    """Memory that processes have for themselves: what they share isn't counted."""

    own_bytes: int
    """This process."""
    children_bytes: tuple[int, ...]
    """Each process that this one, or one of its children, started; most first."""


@dataclass(frozen=True, slots=True)
class _Files:
    """What one version of control groups calls its files."""

    limit: str
    used: str
    cached: str
    """The entry of ``memory.stat`` with what is given back when memory is needed."""


V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = _Files("memory.max", "memory.current", "inactive_file")


def free_memory(root: Path = ROOT) -> FreeMemory:
    """Return what is free: of the machine, or of the container or job if that is less.

    Parameters
    ----------
    root
        Folder with ``proc`` and ``sys``.
    """
    found = [FreeMemory(n_bytes=psutil.virtual_memory().available)]
    for group, files in _groups(root):
        with suppress(OSError, ValueError, KeyError):  # no limit, or not told
            found.append(_free_in(group, files))
    return min(found, key=lambda each: each.n_bytes)


def held_memory() -> HeldMemory:
    """Return what this process and those below it hold."""
    here = psutil.Process()
    children = (_private_bytes(child) for child in here.children(recursive=True))
    return HeldMemory(
        own_bytes=_private_bytes(here),
        children_bytes=tuple(sorted(children, reverse=True)),
    )


def _groups(root: Path) -> Iterator[tuple[Path, _Files]]:
    """Yield the control groups of this process, each with those around it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        innermost = mount / path.lstrip("/")
        for group in (innermost, *innermost.parents):
            yield group, V1 if controllers else V2
            if group == mount:
                break


def _free_in(group: Path, files: _Files) -> FreeMemory:
    """Return what a group may still take.

    Raises
    ------
    OSError, ValueError, KeyError
        If there is no such group, or it has no limit.
    """
    limit = group / files.limit
    n_bytes = int(limit.read_text())  # "max" is no number
    used = int((group / files.used).read_text())
    lines = (group / "memory.stat").read_text().splitlines()
    cached = int(dict(line.split() for line in lines)[files.cached])
    return FreeMemory(n_bytes=max(0, n_bytes - used + cached), limit=limit)


def _private_bytes(process: psutil.Process) -> int:
    """Return what a process holds and shares with no other; 0 if it has just ended."""
    try:
        found = process.memory_info()
    except psutil.Error:
        return 0
    return int(found.rss - getattr(found, "shared", 0))
