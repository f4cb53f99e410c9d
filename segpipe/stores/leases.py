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

Checking is not enough: a process may be paused between its look and its write. So a
holder has a *turn*, a folder ``turn-<number>-<token>`` beside the lease, through which
all that it and its workers write and remove goes by renaming (`Hold.writing`). Who
takes the slide removes the turns before its own, and from then on no rename of theirs
succeeds, whenever they wake up. Nobody makes a turn but who takes the slide.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from segpipe.errors import OutputNotOurs
from segpipe.stores.durable import remove, renaming_through
from segpipe.stores.holders import Holder, Verdict, judge_process
from segpipe.stores.lease_files import (
    Lease,
    lease_content,
    lease_paths,
    newest,
    number_of,
    read_lease,
    turn_paths,
)


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
_ended: set[str] = set()
"""Tokens of leases that this process couldn't give back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a holder has in hand; it may be sent to workers, which check it too."""

    path: Path
    """The file of the lease."""
    token: str
    """What must stand in it."""

    @property
    def turn(self) -> Path:
        """Folder through which what is written goes."""
        return self.path.with_name(f"turn-{number_of(self.path)}-{self.token}")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let this thread write to the slide as long as it is held, and no longer.

        Raises
        ------
        OutputNotOurs
            Instead of any error of a run that has lost the slide.
        """
        try:
            with renaming_through(self.turn):
                yield
        except Exception:
            self.check()
            raise

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
            lease = read_lease(self.path)
        except FileNotFoundError:
            return False
        return lease.token == self.token and not lease.is_released


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
        with suppress(OSError):
            remove(hold.turn)
        try:
            _write(hold, is_released=True)
        except OSError:
            _ended.add(hold.token)  # others wait for the end of this process


def take(folder: Path, timing: LeaseTiming) -> Hold:
    """Take the lease of a slide that nobody holds, or whose holder is dead.

    Raises
    ------
    OutputNotOurs
        If another run holds it.
    """
    while True:
        lease = newest(folder)
        if not (lease is None or lease.token in _ended or is_free(lease, timing)):
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


def is_free(lease: Lease, timing: LeaseTiming) -> bool:
    """Whether a lease may be taken; may look on for ``dead_s``."""
    verdict = judge(lease)
    return _is_still(lease, timing) if verdict == "unknown" else verdict == "free"


def judge(lease: Lease) -> Verdict:
    """Say at one look whether a slide is held; not all can be known that way."""
    if lease.is_released:
        return "free"
    return "unknown" if lease.holder is None else judge_process(lease.holder)


def _is_still(lease: Lease, timing: LeaseTiming) -> bool:
    """Look on, and say whether a lease stayed as it was for ``dead_s``."""
    watched_s, looked = 0.0, time.monotonic()
    while watched_s < timing.dead_s:
        time.sleep(min(timing.poll_s, timing.dead_s))
        try:
            if read_lease(lease.path).text != lease.text:
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
            file.write(lease_content(hold.token, is_released=False))
        hold.turn.mkdir()  # before it is known whether this is the highest number
        *older, last = lease_paths(folder)
        if last != path:
            _let_go(hold)
            return None
        for outlived in older:
            outlived.unlink(missing_ok=True)
        for turn in turn_paths(folder):
            if turn != hold.turn and number_of(turn) <= number_of(path):
                remove(turn)
    except OSError:
        _let_go(hold)
        raise
    return hold


def _let_go(hold: Hold) -> None:
    hold.path.unlink(missing_ok=True)
    remove(hold.turn)


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
        os.write(descriptor, lease_content(hold.token, is_released=is_released))
    finally:
        os.close(descriptor)
    return True


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
        "it has ended, or it showed no life for too long, paused or cut off, and "
        f"another run{by} took it over. This run writes nothing more to it; what it "
        "has finished is kept. Wait for the other, or run again."
    )
