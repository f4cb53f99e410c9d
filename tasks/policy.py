"""How Prefect treats a task: what it tries again, and that it keeps nothing.

The ledger beside the results is the truth about what is done, so nothing is cached and
no result is written down: a task that runs again finds its receipts and does the rest.
"""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from tasks.faults import is_transient


def may_pass(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task run is worth another try."""
    outcome = state.result(raise_on_failure=False)
    return isinstance(outcome, BaseException) and is_transient(outcome)


STAGE: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": [2, 15],
    "retry_jitter_factor": 0.3,
    "retry_condition_fn": may_pass,
}
"""A stage of a slide."""

FLOW: dict[str, Any] = {"persist_result": False, "validate_parameters": True}
"""A flow."""
