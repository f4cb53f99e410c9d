"""One holder for a slide, among all processes of all hosts that share its folder.

A lease is a small file ``lease-<number>.json`` in the slide's ledger. Whoever creates
number n + 1 (``O_EXCL``: one of any number of takers) after n was released or found
dead, and finds no higher one, removes n and then holds the slide. Numbers only grow, so
a taker that slept through others' turns meets a higher number and lets go. Every holder
writes only its own file; that it is gone tells a holder that it was taken for dead.

Who is dead? On this host, a holder whose process is gone: pid, start time, boot and pid
namespace say which process that was. Any other, and one that is stopped, if its file
does not change while the taker looks on for ``dead_s`` of the taker's own monotonic
time, of which no pause between two looks counts more than two of them. No clock is
compared with another, so none that jumps can fool it. A slide left by a dead process of
this host is taken at once; one left on another host after ``dead_s``. A slide that is
alive elsewhere shows it within ``renew_s``.

No lease on a file system can stop a write that was checked before its process was
paused. What makes that harmless is that the results of a plan are always the same
bytes, each written whole or not at all; what the lease adds is that a holder checks
before each receipt, before the table is put in place and before anything is dropped.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Literal

from segpipe.errors import OutputNotOurs

LENGTH = 640
"""Bytes of a lease: always as many, so that renewing is one write in place."""
Verdict = Literal["free", "held", "unknown"]
"""What one look at a lease tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """How often a lease is renewed, and when its holder is taken for dead."""

    renew_s: float = 10.0
    """Between renewals."""
    dead_s: float = 60.0
    """A holder that can't be looked at is dead if it lets so long pass."""
    poll_s: float = 1.0
    """Between two looks at a lease that is watched."""


DEFAULT_TIMING = LeaseTiming()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease as it is read from its file."""

    path: Path
    """The file."""
    holder: Holder | None
    """Who took it; None while that isn't written yet."""
    token: str
    """Random, so that no two leases are mistaken for each other."""
    is_released: bool
    """Whether the holder gave it back."""
    text: str
    """All that is written: it changes with each renewal."""

    @property
    def number(self) -> int:
        """How many times the slide was taken, with this one."""
        return int(self.path.stem.removeprefix("lease-"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a holder has in hand; it may be sent to workers, which check it too."""

    path: Path
    """The file of the lease."""
    token: str
    """What must stand in it."""

    def check(self) -> None:
        """Make sure that the slide is still held: one small read.

        Raises
        ------
        OutputNotOurs
            If another run has taken it.
        """
        if not self.is_valid():
            raise OutputNotOurs(_taken(self.path.parent))

    def is_valid(self) -> bool:
        """Whether the slide is still held."""
        try:
            return _read(self.path).token == self.token
        except FileNotFoundError:
            return False


@contextmanager
def holding(folder: Path, timing: LeaseTiming) -> Iterator[Hold]:
    """Hold a slide, renewing the lease meanwhile, and give it back.

    Parameters
    ----------
    folder
        Ledger of the slide; must exist.
    timing
        The same for all who share the folder.

    Raises
    ------
    OutputNotOurs
        If another run holds it.
    """
    hold = take(folder, timing)
    stop = Event()
    renewing = Thread(
        target=_renew, args=(hold, timing, stop), name="segpipe-lease", daemon=True
    )
    renewing.start()
    try:
        yield hold
    finally:
        stop.set()
        renewing.join()
        with suppress(OSError):  # else it is free when this process has ended
            _write(hold, is_released=True)


def take(folder: Path, timing: LeaseTiming) -> Hold:
    """Take the lease of a slide that nobody holds, or whose holder is dead.

    Raises
    ------
    OutputNotOurs
        If another run holds it.
    """
    while True:
        lease = newest(folder)
        if lease is not None and not is_free(lease, timing):
            raise OutputNotOurs(_busy(folder, lease))
        hold = _take_after(folder, 0 if lease is None else lease.number)
        if hold is not None:
            return hold


def hold_of_this_process(folder: Path) -> Hold:
    """Return what this process holds of a slide.

    Raises
    ------
    OutputNotOurs
        If it doesn't hold the slide, or no more.
    """
    lease = newest(folder)
    if lease is None or lease.is_released or lease.holder != Holder.here():
        raise OutputNotOurs(_taken(folder))
    return Hold(path=lease.path, token=lease.token)


def newest(folder: Path) -> Lease | None:
    """Return the lease that counts, if the slide was ever held."""
    while paths := _paths(folder):
        try:
            return _read(paths[-1])
        except FileNotFoundError:
            time.sleep(0.01)  # taken over between listing and reading
    return None


def outdated(folder: Path) -> list[Path]:
    """Return the leases that count no more."""
    return _paths(folder)[:-1]


def is_free(lease: Lease, timing: LeaseTiming) -> bool:
    """Whether a lease may be taken; may look on for ``dead_s``."""
    verdict = judge(lease)
    return _is_still(lease, timing) if verdict == "unknown" else verdict == "free"


def judge(lease: Lease) -> Verdict:
    """Say at one look whether a slide is held; not all can be known that way."""
    if lease.is_released:
        return "free"
    here, holder = Holder.here(), lease.holder
    if holder is None or not here.boot or not _is_beside(holder, here):
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


def _is_still(lease: Lease, timing: LeaseTiming) -> bool:
    """Look on, and say whether a lease stayed as it was for ``dead_s``."""
    watched_s, looked = 0.0, time.monotonic()
    while watched_s < timing.dead_s:
        time.sleep(min(timing.poll_s, timing.dead_s))
        try:
            if _read(lease.path).text != lease.text:
                return False
        except FileNotFoundError:
            return True  # not there any more: whoever has the next one decides
        now = time.monotonic()
        watched_s += min(now - looked, 2 * timing.poll_s)
        looked = now
    return True


def _take_after(folder: Path, number: int) -> Hold | None:
    """Create the next lease; None if another was quicker."""
    path = folder / f"lease-{number + 1:08d}.json"
    hold = Hold(path=path, token=secrets.token_hex(8))
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_content(hold.token, is_released=False))
        *older, last = _paths(folder)
        if last != path:
            path.unlink(missing_ok=True)
            return None
        for outlived in older:
            outlived.unlink(missing_ok=True)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return hold


def _renew(hold: Hold, timing: LeaseTiming, stop: Event) -> None:
    """Show life until told to stop, or until the lease is another's."""
    while not stop.wait(timing.renew_s):
        with suppress(OSError):  # a share that is away for a moment; try again later
            if not _write(hold, is_released=False):
                return


def _write(hold: Hold, *, is_released: bool) -> bool:
    """Write a lease anew in its place; False, and nothing, if it is another's."""
    if not hold.is_valid():
        return False
    try:
        descriptor = os.open(hold.path, os.O_WRONLY)  # never creates: gone is gone
    except FileNotFoundError:
        return False
    try:
        os.write(descriptor, _content(hold.token, is_released=is_released))
    finally:
        os.close(descriptor)
    return True


def _content(token: str, *, is_released: bool) -> bytes:
    facts = asdict(Holder.here()) | {
        "token": token,
        "is_released": is_released,
        "renewal": secrets.token_hex(4),
        "renewed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(facts).encode().ljust(LENGTH)


def _read(path: Path) -> Lease:
    text = path.read_text(errors="replace")
    unwritten = Lease(path=path, holder=None, token="", is_released=False, text=text)
    try:
        facts = json.loads(text)
        holder = Holder(**{name: facts[name] for name in Holder.__slots__})
        return replace(
            unwritten,
            holder=holder,
            token=facts["token"],
            is_released=facts["is_released"],
        )
    except (ValueError, KeyError, TypeError):
        return unwritten


def _paths(folder: Path) -> list[Path]:
    """Return the leases of a folder in the order of their numbers."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.name.startswith("lease-"))
        return [folder / name for name in names]
    return []


def _busy(folder: Path, lease: Lease) -> str:
    by = "" if lease.holder is None else f" ({lease.holder})"
    return (
        f"Slide {folder.name} in {folder.parents[1]} is being worked on by another "
        f"run{by}. Wait for it, or use another --out."
    )


def _taken(folder: Path) -> str:
    lease = newest(folder)
    by = f" ({lease.holder})" if lease is not None and lease.holder is not None else ""
    return (
        f"Slide {folder.name} in {folder.parents[1]} isn't held by this run any more: "
        f"it showed no life for too long, paused or cut off, and another run{by} took "
        "it over. This run writes nothing more to it; what it has finished is kept. "
        "Wait for the other, or run again."
    )


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
