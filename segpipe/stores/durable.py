"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_HOST = platform.node()
_ENDING = ".tmp"
_GOING = ".going"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success put it in ``path``'s place.

    The file is flushed to disk before the rename and the folder after it. On an error
    the temporary file is removed and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}{_ENDING}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
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


def remove_tree(folder: Path) -> None:
    """Remove a folder so that it is either there whole or not at all.

    It is renamed first. What a killed process left of an earlier removal goes too.
    """
    going = folder.with_name(f".{folder.name}{_GOING}")
    shutil.rmtree(going, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
