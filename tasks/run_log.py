"""The main lines of a run in its flow run's log, for those who look in Prefect."""

from __future__ import annotations

from prefect.logging import get_run_logger

from segpipe.stages.events import (
    BatchRetried,
    SlidePlanned,
    StageDone,
    StageStarted,
    StageStopped,
    WorkersLost,
)
from segpipe.stages.quarantine import reason_of
from tasks.listening import Listener, News
from tasks.outcomes import Outcome
from tasks.wording import ended, is_known, mishap, span


def cohort_log() -> Listener:
    """Return a listener that logs a line for each slide that wasn't done before."""
    logger = get_run_logger()

    def listen(news: News) -> None:
        if isinstance(news, Outcome) and not is_known(news):
            is_failed = news.status == "quarantined"
            (logger.error if is_failed else logger.info)("%s", ended(news))

    return listen


def slide_log() -> Listener:
    """Return a listener that logs the stages of a slide and what went wrong."""
    logger = get_run_logger()

    def listen(news: News) -> None:
        match news:
            case SlidePlanned():
                units = ", ".join(f"{name} {n:,}" for name, n in news.n_units.items())
                logger.info("%.2f mm² tissue; units: %s", news.tissue_mm2, units)
            case StageStarted() if news.n_done:
                counts = f"{news.n_done:,} of {news.n_units:,} units"
                logger.info("%s: %s were done before", news.stage, counts)
            case StageDone():
                how = "done before" if news.resumed else span(news.seconds)
                logger.info("%s: %s units, %s", news.stage, f"{news.n_units:,}", how)
            case BatchRetried() | WorkersLost():
                logger.warning("%s", mishap(news))
            case StageStopped():
                name, reason = type(news.error).__name__, reason_of(news.error)
                logger.error("%s stopped by %s: %s", news.stage, name, reason)
            case _:
                pass

    return listen
