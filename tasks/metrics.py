"""A run in numbers, in Prometheus' text format, for node_exporter's textfile collector.

The file is replaced as a whole, at most every few seconds and at the end. Counters are
of one run and start at 0 with the next, which is what Prometheus expects of a process
that starts again; only the time of the last success is carried over.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from segpipe.errors import OutputNotWritable
from segpipe.stages.events import BatchDone, RunEnded, RunStarted, StageDone
from segpipe.stores.durable import write_text
from segpipe.tables.slides import STAGES
from tasks.listening import Listener, News
from tasks.outcomes import Status
from tasks.standing import Standing

WRITE_S = 5.0
"""Seconds between two writes of the file."""
LAST_SUCCESS = "segpipe_last_success_timestamp_seconds"


@contextmanager
def metrics_file(path: Path) -> Iterator[Listener]:
    """Yield a listener that keeps a file of metrics up to date.

    Raises
    ------
    OutputNotWritable
        If the file can't be written.
    """
    metrics = _Metrics(path=path, last_success_s=_last_success(path))
    try:
        metrics.write()
    except OSError as error:
        message = f"--metrics-file {path} can't be written: {error.strerror}."
        raise OutputNotWritable(message) from error
    yield metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One number with its labels."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric and its samples."""

    name: str
    kind: str
    """``counter`` or ``gauge``."""
    help: str
    samples: tuple[Sample, ...]


@dataclass(slots=True, kw_only=True)
class _Metrics:
    path: Path
    last_success_s: float
    """When a run last ended with no slide quarantined, in Unix time."""
    standing: Standing = field(
        default_factory=lambda: Standing(n_slides=0, started_s=time.monotonic())
    )
    stage_s: dict[str, float] = field(default_factory=dict)
    stage_units: Counter[str] = field(default_factory=Counter)
    heard_s: float = field(default_factory=time.time)
    """When there was news, in Unix time."""
    is_running: bool = True
    made_with: dict[str, str] = field(default_factory=dict)
    out: str = ""
    written_s: float = 0.0
    """When the file was written, on the monotonic clock."""

    def __call__(self, news: News) -> None:
        self.standing.hear(news, time.monotonic())
        self.heard_s = time.time()
        if isinstance(news, RunStarted):
            network = str(news.settings.get("network", ""))
            self.made_with = {"version": news.versions["segpipe"], "network": network}
            self.out = news.out
        elif isinstance(news, BatchDone):
            self.stage_units[news.stage] += len(news.receipt.units)
        elif isinstance(news, StageDone):
            before_s = self.stage_s.get(news.stage, 0.0)
            self.stage_s[news.stage] = before_s + news.seconds
        elif isinstance(news, RunEnded):
            self._end(news)
        is_due = time.monotonic() - self.written_s >= WRITE_S
        if is_due or isinstance(news, RunStarted | RunEnded):
            self.write()

    def _end(self, event: RunEnded) -> None:
        self.is_running = False
        if event.error is None and not self.standing.statuses["quarantined"]:
            self.last_success_s = self.heard_s

    def write(self) -> None:
        """Replace the file."""
        self.written_s = time.monotonic()
        write_text(self.path, exposition(self._metrics(), {"out": self.out}))

    def _metrics(self) -> Iterator[Metric]:
        run = self.standing
        yield _gauge("segpipe_run_info", "What runs.", 1, self.made_with)
        yield _gauge("segpipe_run_active", "Whether the run goes on.", self.is_running)
        yield _gauge("segpipe_slides_asked", "Slides the run is of.", run.n_slides)
        yield Metric(
            name="segpipe_slides_total",
            kind="counter",
            help="Slides that ended, by what became of them.",
            samples=tuple(
                Sample(value=run.statuses[status], labels={"status": status})
                for status in get_args(Status)
            ),
        )
        yield _counter("segpipe_nuclei_total", "Nuclei found.", run.n_nuclei)
        yield _counter("segpipe_tissue_mm2_total", "Tissue done.", run.tissue_mm2)
        yield _by_stage(
            "segpipe_stage_seconds_total", "Seconds of stages.", self.stage_s
        )
        yield _by_stage(
            "segpipe_stage_units_total",
            "Windows or tiles of stages.",
            self.stage_units,
        )
        yield _counter(
            "segpipe_batches_retried_total", "Batches tried again.", run.n_retried
        )
        yield _counter(
            "segpipe_workers_lost_total", "Dask workers that were gone.", run.n_lost
        )
        yield _gauge(
            "segpipe_last_event_timestamp_seconds",
            "When a run last moved.",
            self.heard_s,
        )
        yield _gauge(
            LAST_SUCCESS,
            "When a run last ended with no slide quarantined.",
            self.last_success_s,
        )


def exposition(metrics: Iterable[Metric], common: Mapping[str, str]) -> str:
    """Return metrics in Prometheus' text format.

    Parameters
    ----------
    metrics
        Each name once.
    common
        Labels that every sample gets.
    """
    lines = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines += [
            f"{metric.name}{_labels({**sample.labels, **common})} {sample.value!r}"
            for sample in metric.samples
        ]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _gauge(
    name: str, text: str, value: float, labels: Mapping[str, str] | None = None
) -> Metric:
    sample = Sample(value=float(value), labels=labels or {})
    return Metric(name=name, kind="gauge", help=text, samples=(sample,))


def _counter(name: str, text: str, value: float) -> Metric:
    return Metric(name=name, kind="counter", help=text, samples=(Sample(value=value),))


def _by_stage(name: str, text: str, values: Mapping[str, float]) -> Metric:
    samples = tuple(
        Sample(value=values.get(stage, 0), labels={"stage": stage}) for stage in STAGES
    )
    return Metric(name=name, kind="counter", help=text, samples=samples)


def _last_success(path: Path) -> float:
    """Return what an earlier run's file says, or 0."""
    try:
        lines = path.read_text().splitlines()
        found = [line for line in lines if line.startswith(LAST_SUCCESS)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0
    except (OSError, ValueError):
        return 0.0
