"""A run as JSON lines, for programs that watch: one event a line, written at once.

Each line is one write to a file opened for appending, so that it can be followed while
it grows and runs may share it; ``run`` tells them apart.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from segpipe.errors import OutputNotWritable
from segpipe.stages.events import (
    BatchDone,
    BatchRetried,
    RunEnded,
    RunStarted,
    SlidePlanned,
    StageDone,
    StageStarted,
    StageStopped,
    WorkersLost,
)
from segpipe.stages.quarantine import reason_of
from tasks.listening import Listener, News
from tasks.outcomes import Outcome
from tasks.quarantining import stage_of
from tasks.standing import Standing

Level = Literal["debug", "info"]
"""The least that is logged."""
Fields = dict[str, Any]
"""A line, before it is written."""


@contextmanager
def json_log(path: Path, *, level: Level = "debug") -> Iterator[Listener]:
    """Yield a listener that appends events to a file, each as a line of JSON.

    At level ``info`` batches are left out that ended well; a slide of 10,000 windows
    has some 16,000 of them.

    Raises
    ------
    OutputNotWritable
        If the file can't be opened for appending.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        message = f"--log-file {path} can't be written: {error.strerror}."
        raise OutputNotWritable(message) from error
    try:
        yield _Log(descriptor=descriptor, level=level)
    finally:
        os.close(descriptor)


@dataclass(slots=True, kw_only=True)
class _Log:
    descriptor: int
    level: Level
    run: str = field(default_factory=lambda: uuid4().hex[:12])
    """Tells the lines of runs apart."""
    standing: Standing = field(
        default_factory=lambda: Standing(n_slides=0, started_s=time.monotonic())
    )

    def __call__(self, news: News) -> None:
        fields = self._line(news)
        self.standing.hear(news, time.monotonic())
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        level, event = fields.pop("level"), fields.pop("event")
        if level == "debug" != self.level:
            return
        head = {"time": now.replace("+00:00", "Z"), "level": level, "event": event}
        text = json.dumps(head | {"run": self.run} | fields, default=str) + "\n"
        os.write(self.descriptor, text.encode())

    def _line(self, news: News) -> Fields:
        if isinstance(news, RunStarted):
            return _run_started(news)
        if isinstance(news, RunEnded):
            return _run_ended(news, self.standing)
        if isinstance(news, Outcome):
            slide = self.standing.slides.get(news.slide.id)
            started_s = slide.started_s if slide else None
            return _slide_ended(news, started_s)
        if isinstance(news, SlidePlanned):
            return _slide_planned(news)
        slide = self.standing.slides.get(news.slide_id)
        key = slide.keys.get(news.stage, "") if slide else ""
        where = {"slide": news.slide_id, "stage": news.stage, "key": key}
        return where | _of_stage(news)


def _run_started(event: RunStarted) -> Fields:
    return {
        "level": "info",
        "event": "run_started",
        "n_slides": event.n_slides,
        "out": event.out,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "versions": dict(event.versions),
        "settings": dict(event.settings),
    }


def _run_ended(event: RunEnded, run: Standing) -> Fields:
    failed = run.statuses["quarantined"]
    level = "error" if event.error else "warning" if failed else "info"
    counts = {f"n_{status}": n for status, n in sorted(run.statuses.items())}
    return {
        "level": level,
        "event": "run_ended",
        "seconds": round(event.seconds, 3),
        **counts,
        "n_nuclei": run.n_nuclei,
        "tissue_mm2": round(run.tissue_mm2, 6),
        "n_batches_retried": run.n_retried,
        "n_workers_lost": run.n_lost,
        **(_error(event.error) if event.error else {}),
    }


def _slide_planned(event: SlidePlanned) -> Fields:
    return {
        "level": "info",
        "event": "slide_planned",
        "slide": event.slide_id,
        "tissue_mm2": round(event.tissue_mm2, 6),
        "n_units": dict(event.n_units),
        "keys": dict(event.keys),
        "network": event.network,
        "device": event.device,
        "worker_bytes": event.worker_bytes,
        "disk_bytes": event.disk_bytes,
    }


def _slide_ended(outcome: Outcome, started_s: float | None) -> Fields:
    fields: Fields = {
        "level": "error" if outcome.status == "quarantined" else "info",
        "event": f"slide_{outcome.status}",
        "slide": outcome.slide.id,
        "path": str(outcome.slide.path),
    }
    if started_s is not None:
        fields["seconds"] = round(time.monotonic() - started_s, 3)
    if outcome.row is not None:
        fields["n_nuclei"] = outcome.row.n_nuclei
        fields["tissue_mm2"] = round(outcome.row.tissue_mm2, 6)
    if outcome.is_passed_over:
        fields["passed_over"] = True
    if outcome.error is not None:
        fields |= {"stage": stage_of(outcome.error), **_error(outcome.error)}
    return fields


def _of_stage(
    event: StageStarted
    | BatchDone
    | BatchRetried
    | WorkersLost
    | StageStopped
    | StageDone,
) -> Fields:
    match event:
        case StageStarted():
            return {
                "level": "info",
                "event": "stage_started",
                "n_units": event.n_units,
                "n_done_before": event.n_done,
            }
        case BatchDone():
            return {
                "level": "debug",
                "event": "batch_done",
                "units": event.receipt.units,
                "count": event.receipt.count,
                "seconds": round(event.receipt.seconds, 3),
                "worker": event.worker or None,
            }
        case BatchRetried():
            return {
                "level": "warning",
                "event": "batch_retried",
                "units": event.units,
                "attempt": event.attempt,
                **_error(event.error),
            }
        case WorkersLost():
            return {
                "level": "warning",
                "event": "workers_lost",
                "workers": event.workers,
            }
        case StageStopped():
            return {
                "level": "error",
                "event": "stage_stopped",
                "seconds": round(event.seconds, 3),
                **_error(event.error),
            }
        case StageDone():
            return {
                "level": "info",
                "event": "stage_done",
                "n_units": event.n_units,
                "seconds": round(event.seconds, 3),
                "done_before": event.resumed,
            }


def _error(error: BaseException) -> Fields:
    return {"error": type(error).__name__, "reason": reason_of(error)}
