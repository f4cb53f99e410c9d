"""Files that are there whole or not at all, also after a power cut.

What is written is written elsewhere and renamed to its place; what is removed is
renamed away and then removed. Elsewhere is beside the place, or the *turn* of who holds
a slide (see `segpipe.stores.leases`): a folder that is taken away from who loses the
slide. A rename out of or into a folder that is gone fails, so nothing is put in place
or removed by a run that was paused at the wrong moment.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import psutil

_HOST = platform.node()
_ENDING = ".tmp"
_GOING = ".going"
_turn: ContextVar[Path | None] = ContextVar("turn", default=None)


@contextmanager
def renaming_through(turn: Path) -> Iterator[None]:
    """Let what this thread writes and removes go through a turn."""
    before = _turn.set(turn)
    try:
        yield
    finally:
        _turn.reset(before)


def current_turn() -> Path | None:
    """Return what this thread's writes go through, if anything."""
    return _turn.get()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success put the file there in ``path``'s place.

    The file is flushed to disk before the rename and the folder after it. On an error
    the temporary file is removed and ``path`` stays as it was.
    """
    with renaming(path, current_turn()) as temporary:
        yield temporary
        _flush(temporary)
    _flush(path.parent)


@contextmanager
def renaming(path: Path, turn: Path | None) -> Iterator[Path]:
    """Do as `replacing`, through a given turn, and leave flushing to the system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path) if turn is None else turn / secrets.token_hex(8)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file durably."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sweep(folder: Path, name: str) -> None:
    """Remove what killed writers of a file left beside it.

    Only what dead processes of this host left: elsewhere another may be writing.
    """
    for temporary in folder.glob(f".{name}.{_HOST}.*{_ENDING}"):
        pid = temporary.name.removesuffix(_ENDING).rpartition(".")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there, so that none is there in part.

    What a killed process left of an earlier removal goes too.
    """
    turn = current_turn()
    beside = path.with_name(f".{path.name}{_GOING}")
    going = beside if turn is None else turn / secrets.token_hex(8)
    _delete(beside)
    try:
        path.replace(going)
    except FileNotFoundError:
        if turn is not None:
            turn.stat()  # fails if that is what isn't there
    _delete(going)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{_HOST}.{os.getpid()}{_ENDING}")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
