"""The result folder, before a run and for slides that can't be done."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from segpipe.errors import DiskFull, OutputNotOurs, OutputNotWritable
from segpipe.stores.durable import write_text
from segpipe.stores.layout import Layout

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What the system says when nothing more can be written."""

FORMAT = 1
"""Version of the result folder's layout."""


def prepare_out(out: Path) -> Layout:
    """Make the result folder, or check that it is one of ours and can be written.

    Raises
    ------
    OutputNotWritable
        If it can't be made or written.
    OutputNotOurs
        If it holds something that segpipe didn't write.
    """
    layout = Layout(out.resolve())
    try:
        layout.out.mkdir(parents=True, exist_ok=True)
        if not layout.holds_results:
            _refuse_foreign(layout.out)
        if not layout.marker.exists():
            facts = {"tool": "segpipe", "format": FORMAT, "version": version("segpipe")}
            write_text(layout.marker, json.dumps(facts))
        _refuse_two_disks(layout)
    except (OutputNotOurs, OutputNotWritable):
        raise
    except (NotADirectoryError, FileExistsError) as error:
        message = f"--out {out} is a file, not a folder. Give a folder."
        raise OutputNotWritable(message) from error
    except OSError as error:
        raise OutputNotWritable(_unwritable(out, str(error))) from error
    if not os.access(layout.out, os.W_OK):
        raise OutputNotWritable(_unwritable(out, "no write permission"))
    return layout


@contextmanager
def naming_full_disk(out: Path) -> Iterator[None]:
    """Turn a full or read-only disk into an error that says what to do.

    Raises
    ------
    DiskFull
        With the room that is left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free_gib = shutil.disk_usage(out).free / 2**30
        message = (
            f"{os.strerror(error.errno)}: {out} has {free_gib:.2f} GiB free. Make room "
            "and run the same command again; what is finished is kept."
        )
        raise DiskFull(message) from error


def _unwritable(out: Path, reason: str) -> str:
    return (
        f"Results can't be written to {out}: {reason}. Choose another --out, or change "
        "its permissions."
    )


def _refuse_two_disks(layout: Layout) -> None:
    """Files are written in the ledger and renamed to their place, so on one disk."""
    for place in (layout.store(""), layout.table(""), layout.overlay("")):
        folder = layout.out / place.relative_to(layout.out).parts[0]
        if folder.exists() and folder.stat().st_dev != layout.marker.stat().st_dev:
            message = (
                f"{folder} is on another disk or volume than {layout.ledger_root}. "
                "A result folder must be on one: mount or link the whole of it."
            )
            raise OutputNotWritable(message)


def _refuse_foreign(out: Path) -> None:
    found = sorted(path.name for path in out.iterdir() if path.name != "ledger")
    if found:
        message = (
            f"--out {out} is not empty and not a result folder of segpipe: it holds "
            f"{', '.join(found[:3])}{' ...' if len(found) > 3 else ''}. Choose another "
            "folder or a new one."
        )
        raise OutputNotOurs(message)
