"""Leases and turns as they lie in the ledger of a slide: names, content, order."""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from segpipe.stores.holders import Holder

LENGTH = 640
"""Bytes of a lease: always as many, so that renewing is one write in place."""


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
        return int(number_of(self.path))


def newest(folder: Path) -> Lease | None:
    """Return the lease that counts, if the slide was ever held."""
    while paths := lease_paths(folder):
        try:
            return read_lease(paths[-1])
        except FileNotFoundError:
            time.sleep(0.01)  # taken over between listing and reading
    return None


def outdated(folder: Path) -> list[Path]:
    """Return the leases and turns that count no more, if nobody else holds the slide.

    A turn that isn't this process' was left by one that was killed.
    """
    lease = newest(folder)
    kept = ""
    if lease is not None and not lease.is_released and lease.holder == Holder.here():
        kept = number_of(lease.path)
    turns = [turn for turn in turn_paths(folder) if number_of(turn) != kept]
    return [*lease_paths(folder)[:-1], *turns]


def lease_content(token: str, *, is_released: bool) -> bytes:
    """Return what this process writes in its lease."""
    facts = asdict(Holder.here()) | {
        "token": token,
        "is_released": is_released,
        "renewal": secrets.token_hex(4),
        "renewed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(facts).encode().ljust(LENGTH)


def read_lease(path: Path) -> Lease:
    """Read a lease; one that is being written has no holder yet.

    Raises
    ------
    FileNotFoundError
        If it is gone.
    """
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


def lease_paths(folder: Path) -> list[Path]:
    """Return the leases of a folder in the order of their numbers."""
    return _named(folder, "lease-")


def turn_paths(folder: Path) -> list[Path]:
    """Return the turns of a folder in the order of their numbers."""
    return _named(folder, "turn-")


def _named(folder: Path, prefix: str) -> list[Path]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.name.startswith(prefix))
        return [folder / name for name in names]
    return []


def number_of(path: Path) -> str:
    """Return the number of a lease or of a turn, as it is written in the name."""
    return path.stem.split("-")[1]
