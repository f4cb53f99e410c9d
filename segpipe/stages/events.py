"""What a run tells whoever listens: progress bars, logs, metrics, artifacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from segpipe.stores.ledger import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run begins."""

    n_slides: int
    """Slides asked for, also those that are done already."""
    out: str
    """Result folder, absolute."""
    settings: Mapping[str, object]
    """Choices; plain JSON values."""
    versions: Mapping[str, str]
    """Of segpipe and of what it runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run is over, by itself or by an error."""

    seconds: float
    """Since it began."""
    error: BaseException | None = None
    """What ended it, if it didn't end by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidePlanned:
    """A slide that isn't done is planned, and what it takes is known."""

    slide_id: str
    tissue_mm2: float
    """Area of the tissue mask."""
    n_units: Mapping[str, int]
    """Units of each stage, stages in order."""
    keys: Mapping[str, str]
    """Key of each stage."""
    network: str
    device: str
    worker_bytes: int
    """Priced peak memory of a worker."""
    disk_bytes: int
    """Priced disk while the slide is worked on."""
    stage: str = "plan"


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins, some of it perhaps done by an earlier run."""

    slide_id: str
    stage: str
    n_units: int
    n_done: int
    count: int = 0
    """What the units that are done came to."""


@dataclass(frozen=True, slots=True)
class BatchDone:
    """Some units of a stage are written."""

    slide_id: str
    stage: str
    receipt: Receipt
    worker: str = ""
    """Address of the Dask worker; empty in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRetried:
    """Some units of a stage failed and are tried again."""

    slide_id: str
    stage: str
    units: tuple[int, ...]
    attempt: int
    """The try that failed, from 1."""
    error: Exception
    """By what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersLost:
    """Dask workers that were there while a stage ran are gone."""

    slide_id: str
    stage: str
    workers: tuple[str, ...]
    """Their addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStopped:
    """A stage was left by an error; its finished units are kept."""

    slide_id: str
    stage: str
    seconds: float
    error: BaseException


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage has ended, or was found ended (``resumed``)."""

    slide_id: str
    stage: str
    n_units: int
    seconds: float
    resumed: bool


Event = (
    SlidePlanned
    | StageStarted
    | BatchDone
    | BatchRetried
    | WorkersLost
    | StageStopped
    | StageDone
)
"""What a slide tells on its way."""
RunEvent = RunStarted | RunEnded
"""What a run tells around its slides."""
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""
