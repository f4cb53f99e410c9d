"""``segpipe run`` from what was asked for to what is said at its end."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from flows.progress import progress
from flows.running import Request, run
from flows.summary import as_json, code_of, show, show_failures
from tasks.listening import listening, together
from tasks.watching import recorded, telling_of_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a run lets be seen of it."""

    as_json: bool = False
    """One JSON object on stdout, and nothing else."""
    quiet: bool = False
    """Only failures."""
    log_file: Path | None = None
    """Where JSON lines are appended."""
    metrics_file: Path | None = None
    """Where metrics for Prometheus are kept."""


def run_and_show(request: Request, shown: Shown) -> int:
    """Run, show how it goes and what came of it, and return the exit code.

    Raises
    ------
    SegpipeError, OSError
        By what is no single slide's fault.
    """
    started = time.perf_counter()
    slides = request.read()
    for note in slides.notes:
        sys.stderr.write(f"note: {note}\n")
    n_slides, is_silent = len(slides.slides), shown.as_json or shown.quiet
    with (
        recorded(shown.log_file, shown.metrics_file) as record,
        progress(n_slides, quiet=is_silent) as view,
        listening(together(record, view)),
        telling_of_run(n_slides, request.out, request.settings),
    ):
        outcomes = run(request, slides)
    seconds = time.perf_counter() - started
    code = code_of(outcomes, is_cohort=slides.is_cohort)
    if shown.as_json:
        sys.stdout.write(as_json(outcomes, request.out, seconds, code) + "\n")
    elif shown.quiet:
        show_failures(outcomes, request.out)
    else:
        show(outcomes, request.out, seconds)
    return code
