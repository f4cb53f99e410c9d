"""The logs of a training run, in step with its checkpoint: CSV, and TensorBoard.

TensorBoard's files are written if tensorboardX is installed.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from segpipe.stores.durable import write_text

LOG = "log.csv"
DEV_LOG = "dev.csv"
BOARD = "tensorboard"


class Log(Protocol):
    """Takes the numbers of a step."""

    def __call__(self, kind: str, step: int, row: Mapping[str, float]) -> None:
        """Write a row of a kind, ``"train"`` or ``"dev"``."""


@contextmanager
def logging_to(out: Path, done: int) -> Iterator[Log]:
    """Open the logs of a run, rewound to its last checkpoint.

    Parameters
    ----------
    out
        Folder of the run: ``log.csv``, ``dev.csv``, ``tensorboard/``.
    done
        The checkpoint's step; a resumed run takes those after it again.
    """
    files = {"train": out / LOG, "dev": out / DEV_LOG}
    for path in files.values():
        rewind_log(path, done)
    board = _board(out / BOARD, done)

    def log(kind: str, step: int, row: Mapping[str, float]) -> None:
        append_log(files[kind], step, row)
        if board is not None:
            for name, value in row.items():
                board.add_scalar(f"{kind}/{name}", value, step)

    try:
        yield log
    finally:
        if board is not None:
            board.close()


def _board(folder: Path, done: int) -> Any | None:  # noqa: ANN401 - has no types
    try:
        tensorboard = importlib.import_module("tensorboardX")
    except ImportError:
        return None
    return tensorboard.SummaryWriter(str(folder), purge_step=done + 1)


def append_log(path: Path, step: int, row: Mapping[str, float]) -> None:
    """Add a step's numbers to a CSV."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(["step", *row])
        writer.writerow([step, *(f"{value:.6g}" for value in row.values())])


def rewind_log(path: Path, step: int) -> None:
    """Drop the steps after ``step``, and a last row that was cut off."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = whole[:1] + [row for row in whole[1:] if int(row.split(",", 1)[0]) <= step]
    if kept:
        write_text(path, "".join(kept))
    else:
        path.unlink()
