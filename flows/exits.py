"""How the command line ends: exit codes, and errors as one sentence on stderr.

==== =====================================================
code meaning
==== =====================================================
0    all done, or being done by another run
1    anything else: a crash, a lost cluster, a full disk
2    usage, or a refused plan
3    some slides are quarantined, the rest is done
130  stopped by Ctrl-C
143  stopped by SIGTERM
==== =====================================================
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer, current_thread, main_thread
from types import FrameType

import typer

from segpipe.errors import (
    DatasetError,
    DiskFull,
    OutputError,
    PlanRefused,
    SegpipeError,
    SettingsError,
    SlideError,
    StoreDamaged,
    WeightsError,
)
from tasks.faults import is_interruption, is_of_prefect

DONE, FAILED, REFUSED, QUARANTINED, STOPPED, TERMINATED = 0, 1, 2, 3, 130, 143
UNWIND_S = 8.0
"""How long a run that is told to stop may take to wind up what it has begun."""

REFUSALS = (
    DatasetError,
    OutputError,
    PlanRefused,
    SettingsError,
    SlideError,
    WeightsError,
)
"""Errors that say that the call, or what it names, must change."""
FAILURES = (DiskFull, StoreDamaged)
"""Errors of the output that arise in the middle of a run."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: the same as Ctrl-C, but for the exit code."""


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error that ends the program."""
    if is_interruption(error):
        return TERMINATED if _was_terminated(error) else STOPPED
    refused = isinstance(error, REFUSALS) and not isinstance(error, FAILURES)
    return REFUSED if refused else FAILED


def _was_terminated(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, Terminated):
        seen = seen.__cause__ or seen.__context__
    return seen is not None


@contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGTERM and Ctrl-C end what is inside, by exception, and soon by force.

    The ledger is right at any moment, so that a cluster or a server that doesn't wind
    up within ``UNWIND_S`` needn't be waited for. Only in the main thread.
    """
    if current_thread() is not main_thread():
        yield
        return
    stops = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}

    def stop(number: int, _frame: FrameType | None) -> None:
        kind = stops[signal.Signals(number)]
        timer = Timer(UNWIND_S, _leave, [kind()])
        timer.daemon = True
        timer.start()
        raise kind

    before = {number: signal.signal(number, stop) for number in stops}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(error: KeyboardInterrupt) -> None:
    """End the process here and now."""
    sys.stdout.flush()
    sys.stderr.write(f"error: {sentence(error)}\n")
    sys.stderr.flush()
    os._exit(exit_code(error))


def sentence(error: BaseException) -> str:
    """Say an error in one line."""
    said = " ".join(str(error).split())
    if is_interruption(error):
        return "stopped. Finished work is kept: the same command goes on from here."
    if isinstance(error, SegpipeError):
        return said
    if is_of_prefect(error):
        return (
            f"Prefect's API doesn't answer: {said}. Finished work is kept: run again."
        )
    if isinstance(error, OSError):
        return f"{said}. Finished work is kept: mend it and run the same command again."
    name = type(error).__name__
    return f"unexpected {name}: {said}. --debug shows where; please report it."


@contextmanager
def exits(*, debug: bool = False, as_json: bool = False) -> Iterator[None]:
    """End the program by exit code and sentence if anything inside raises.

    With ``debug`` the error passes as it is; with ``as_json`` it is also the one JSON
    object on stdout.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        code = exit_code(error)
        if as_json:
            name = type(error).__name__
            facts = {"status": "failed", "error": name, "reason": sentence(error)}
            sys.stdout.write(json.dumps(facts | {"exit_code": code}) + "\n")
        sys.stderr.write(f"error: {sentence(error)}\n")
        raise typer.Exit(code) from error
