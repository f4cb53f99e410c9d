"""Where a run stands in words: the same in a terminal, a log and Prefect's pages."""

from __future__ import annotations

from segpipe.stages.events import BatchRetried, WorkersLost
from segpipe.stages.quarantine import reason_of
from tasks.outcomes import Outcome
from tasks.standing import Left, SlideStanding, StageStanding, Standing

STILL_S = 60.0
"""A stage whose last batch is longer ago says so."""


def span(seconds: float) -> str:
    """Say a time span that changes as one looks, in whole seconds from ten on."""
    return f"{seconds:.0f} s" if 10 <= seconds < 60 else duration(seconds)


def duration(seconds: float) -> str:
    """Say a time span with the precision that matters."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def left_in_words(left: Left | None) -> str:
    """Say how long something will take; nothing if nothing is known, or left."""
    if left is None or left.seconds < 0.1:
        return ""
    about = "at least " if left.at_least else "about "
    return f"{about}{span(left.seconds)} left"


def speed_in_words(slide: SlideStanding, stage: StageStanding, now_s: float) -> str:
    """Say how fast a stage goes; nothing before its first batch."""
    units_per_s = stage.units_per_s(now_s)
    if units_per_s is None:
        return ""
    mm2_per_s = slide.mm2_per_s(stage, now_s)
    area = "" if mm2_per_s is None else f", {number(mm2_per_s)} mm²/s"
    return f"{number(units_per_s)} {stage.unit}/s{area}"


def number(value: float) -> str:
    """Say a positive number with two digits or more, and never as a power."""
    if value >= 10:
        return f"{value:,.0f}"
    if value >= 1:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def stage_in_words(slide: SlideStanding, stage: StageStanding, now_s: float) -> str:
    """Say how far a stage is, how fast it goes, and if it doesn't move."""
    clauses = [f"{stage.name} {stage.n_done:,}/{stage.n_units:,} {stage.unit}"]
    if stage.n_before and not stage.n_now:
        clauses[0] += f" ({stage.n_before:,} were done before)"
    if speed := speed_in_words(slide, stage, now_s):
        clauses.append(speed)
    if still := stillness(stage, now_s):
        clauses.append(still)
    return ", ".join(clauses)


def stillness(stage: StageStanding, now_s: float) -> str:
    """Say for how long no batch of a stage has ended, if it is long."""
    still_s = now_s - stage.moved_s
    return f"no batch ended for {span(still_s)}" if still_s >= STILL_S else ""


def slide_in_words(run: Standing, slide: SlideStanding, now_s: float) -> str:
    """Say where a slide stands, in a line."""
    stage = slide.current
    clauses = [stage_in_words(slide, stage, now_s) if stage else idle(slide)]
    if slide.n_nuclei:
        clauses.append(f"{slide.n_nuclei:,} nuclei")
    if left := left_in_words(run.slide_left(slide, now_s)):
        clauses.append(left)
    return f"{slide.slide_id}: {', '.join(clauses)}"


def idle(slide: SlideStanding) -> str:
    """Say what a slide does between stages."""
    ended = [stage.seconds is not None for stage in slide.stages.values()]
    return "publishing" if ended and all(ended) else "between stages"


def run_in_words(run: Standing, now_s: float) -> str:
    """Say where a run stands, in a line."""
    clauses = [how_far(run, now_s), come_to(run)]
    return ", ".join(clause for clause in clauses if clause)


def how_far(run: Standing, now_s: float) -> str:
    """Say how many slides a run has behind it, and how long the rest will take."""
    slides = f"{run.n_ended:,}/{run.n_slides:,} slides"
    left = left_in_words(run.run_left(now_s))
    return f"{slides}, {left}" if left else slides


def come_to(run: Standing) -> str:
    """Say what a run has come to so far, good and bad; nothing at its start."""
    counts = {
        "quarantined": run.statuses["quarantined"],
        "busy": run.statuses["busy"],
        "done before": run.statuses["unchanged"],
        "nuclei": run.n_nuclei_so_far,
        "batches tried again": run.n_retried,
        "workers lost": run.n_lost,
    }
    clauses = [f"{count:,} {what}" for what, count in counts.items() if count]
    if run.tissue_mm2:
        clauses.append(f"{run.tissue_mm2:,.2f} mm² tissue done")
    return ", ".join(clauses)


def ended(outcome: Outcome) -> str:
    """Say in a line what became of a slide."""
    name = outcome.slide.id
    if outcome.row is not None:
        n_nuclei, mm2 = outcome.row.n_nuclei, outcome.row.tissue_mm2
        before = " (done before)" if outcome.status == "unchanged" else ""
        return f"{name}: {n_nuclei:,} nuclei in {mm2:.2f} mm²{before}"
    reason = reason_of(outcome.error) if outcome.error else "unknown"
    return f"{name}: {outcome.status}: {reason}"


def is_known(outcome: Outcome) -> bool:
    """Whether a slide ended as an earlier run left it."""
    return outcome.status == "unchanged" or outcome.is_passed_over


def mishap(event: BatchRetried | WorkersLost) -> str:
    """Say what a run has overcome."""
    where = f"{event.slide_id}: {event.stage}"
    if isinstance(event, WorkersLost):
        workers = ", ".join(event.workers)
        return f"{where}: lost worker {workers}; its batches go to others"
    units = f"unit {event.units[0]}"
    if len(event.units) > 1:
        units = f"units {event.units[0]} to {event.units[-1]}"
    error = event.error
    if type(error).__name__ == "KilledWorker":
        return f"{where}: {units} killed workers; tried again in parts, alone"
    reason = reason_of(error)
    return f"{where}: {units} tried again after {type(error).__name__}: {reason}"
