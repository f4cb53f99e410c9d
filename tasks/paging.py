"""Runs that Prefect knows of, all of them: its API returns a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect.client.schemas.filters import (
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType

Run = TypeVar("Run")

PAGE = 200
"""Most that the API returns at once."""


def every_run(read: Callable[..., list[Run]], **filters: Any) -> list[Run]:  # noqa: ANN401
    """Read page after page until there is none.

    All are read before any is returned: a run whose state is changed meanwhile might
    leave the filter, and move others onto a page that has been read.

    Parameters
    ----------
    read
        ``read_flow_runs`` or ``read_task_runs`` of a Prefect client.
    **filters
        Which runs, as ``read`` takes them.
    """
    found: list[Run] = []
    while page := read(**filters, limit=PAGE, offset=len(found)):
        found += page
    return found


def flow_state(types: list[StateType]) -> FlowRunFilterState:
    """Return the filter for flow runs in one of some states."""
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=types))


def task_state(types: list[StateType]) -> TaskRunFilterState:
    """Return the filter for task runs in one of some states."""
    return TaskRunFilterState(type=TaskRunFilterStateType(any_=types))
