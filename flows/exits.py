"""How the command line ends: exit codes, and errors as one sentence on stderr.

==== =====================================================
code meaning
==== =====================================================
0    all done
1    anything else: a crash, a lost cluster, a full disk
2    usage, or a refused plan
3    some slides are quarantined, the rest is done
130  stopped by Ctrl-C
==== =====================================================
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from segpipe.errors import (
    DatasetError,
    OutputError,
    PlanRefused,
    SegpipeError,
    SettingsError,
    SlideError,
    StoreDamaged,
    WeightsError,
)
from tasks.faults import is_interruption, is_of_prefect

DONE, FAILED, REFUSED, QUARANTINED, STOPPED = 0, 1, 2, 3, 130

REFUSALS = (
    DatasetError,
    OutputError,
    PlanRefused,
    SettingsError,
    SlideError,
    WeightsError,
)
"""Errors that say that the call, or what it names, must change."""


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error that ends the program."""
    if is_interruption(error):
        return STOPPED
    refused = isinstance(error, REFUSALS) and not isinstance(error, StoreDamaged)
    return REFUSED if refused else FAILED


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
