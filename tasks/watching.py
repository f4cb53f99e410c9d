"""Who watches a run: its files of record, and Prefect's pages where there is a server.

The command line names the files by options, a deployment by the same environment
variables: where a run is recorded is no parameter of what it computes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Literal

from segpipe.config import Settings, SlideRef
from segpipe.errors import SettingsError
from segpipe.stages.events import RunEnded, RunStarted
from segpipe.tables.slides import SlideRow
from tasks.faults import blames_the_slide
from tasks.listening import (
    Listener,
    News,
    harmless,
    is_listening,
    listening,
    listening_too,
    tell,
    together,
)
from tasks.outcomes import Outcome, Status

LOG_FILE, METRICS_FILE = "SEGPIPE_LOG_FILE", "SEGPIPE_METRICS_FILE"
"""Variables that name the files of record."""
LOG_LEVEL = "SEGPIPE_LOG_LEVEL"
"""Variable that says what the log has: ``debug``, or ``info`` without batches."""
RUNS_ON = ("segpipe", "torch", "numpy", "zarr", "dask", "prefect")
"""Packages whose version a log has."""


@contextmanager
def recorded(log_file: Path | None, metrics_file: Path | None) -> Iterator[Listener]:
    """Yield a listener that keeps the files of record.

    Raises
    ------
    OutputNotWritable
        If one can't be written.
    """
    from tasks.logs import json_log  # noqa: PLC0415 - only where it is asked for
    from tasks.metrics import metrics_file as metrics_at  # noqa: PLC0415

    with ExitStack() as stack:
        listeners = []
        if log_file is not None:
            log = stack.enter_context(json_log(log_file, level=_log_level()))
            listeners.append(harmless(log, f"log in {log_file}"))
        if metrics_file is not None:
            metrics = stack.enter_context(metrics_at(metrics_file))
            listeners.append(harmless(metrics, f"metrics file {metrics_file}"))
        yield together(*listeners)


@contextmanager
def telling_of_run(n_slides: int, out: Path, settings: Settings) -> Iterator[None]:
    """Tell that a run starts and how it ended."""
    started_s = time.monotonic()
    versions = {name: version(name) for name in RUNS_ON}
    tell(
        RunStarted(
            n_slides=n_slides,
            out=str(out.resolve()),
            settings=settings.model_dump(mode="json"),
            versions=versions | {"python": python_version()},
        )
    )
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        tell(RunEnded(seconds=time.monotonic() - started_s, error=error))


@contextmanager
def watched_cohort(n_slides: int, out: Path, settings: Settings) -> Iterator[None]:
    """Have a cohort's flow run watched, and recorded if nothing around it does."""
    with ExitStack() as stack:
        if not is_listening():
            _record(stack, n_slides, out, settings)
        if _has_readers():
            from tasks.artifacts import cohort_page  # noqa: PLC0415
            from tasks.run_log import cohort_log  # noqa: PLC0415

            page = stack.enter_context(cohort_page(n_slides))
            log = cohort_log()
            watchers = together(harmless(page, "page"), harmless(log, "flow run's log"))
            stack.enter_context(listening_too(watchers))
        yield


@contextmanager
def watched_slide(
    slide: SlideRef, settings: Settings, out: Path
) -> Iterator[Callable[[SlideRow], SlideRow]]:
    """Have a slide's flow run watched, and recorded if nothing around it does.

    Yields
    ------
    callable
        To be given the slide's row at the end; returns it.
    """
    with ExitStack() as stack:
        is_alone = not is_listening()
        if is_alone:
            _record(stack, 1, out, settings)
        if _has_readers():
            from tasks.artifacts import slide_page  # noqa: PLC0415
            from tasks.run_log import slide_log  # noqa: PLC0415

            page = stack.enter_context(slide_page())
            log = slide_log()
            watchers = together(harmless(page, "page"), harmless(log, "flow run's log"))
            stack.enter_context(listening_too(watchers))
        heard: list[News] = []
        if is_alone:
            stack.enter_context(listening_too(_first_into(heard)))

        def ended(row: SlideRow) -> SlideRow:
            if is_alone:
                status: Status = "done" if heard else "unchanged"
                tell(Outcome(slide=slide, status=status, row=row))
            return row

        try:
            yield ended
        except Exception as error:
            if is_alone and blames_the_slide(error):
                tell(Outcome(slide=slide, status="quarantined", error=error))
            raise


def _record(stack: ExitStack, n_slides: int, out: Path, settings: Settings) -> None:
    """Keep the files that the environment names, until the stack is left."""
    log_file, metrics_file = (
        Path(named) if (named := os.environ.get(variable)) else None
        for variable in (LOG_FILE, METRICS_FILE)
    )
    if log_file is None and metrics_file is None:
        return
    record = stack.enter_context(recorded(log_file, metrics_file))
    stack.enter_context(listening(record))
    stack.enter_context(telling_of_run(n_slides, out, settings))


def _log_level() -> Literal["debug", "info"]:
    match level := os.environ.get(LOG_LEVEL, "debug"):
        case "debug" | "info":
            return level
        case _:
            message = f"{LOG_LEVEL}={level} is no level; use debug or info."
            raise SettingsError(message)


def _first_into(heard: list[News]) -> Listener:
    def listen(news: News) -> None:
        if not heard:
            heard.append(news)

    return listen


def _has_readers() -> bool:
    """Whether runs are on an API that is there for longer than this run."""
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    from tasks.embedded_server import is_embedded  # noqa: PLC0415

    return PREFECT_API_URL.value() is not None and not is_embedded()
