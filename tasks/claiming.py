"""Flow runs say which process they are, so that those of dead ones can be told.

A process that is killed can't tell Prefect, where its flow and its tasks would stay
"Running" for ever. The next run into the same result folder ends them as Crashed: those
that say that they were of this folder, and of a process of this host that is gone. Any
other is left alone: of another host or container nothing can be known from here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    TaskRunFilter,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Crashed

from segpipe.stores.holders import Holder, judge_process
from segpipe.stores.layout import Layout
from tasks.paging import every_run, flow_state, task_state

OUT, HOLDER = "segpipe.out", "segpipe.process"
"""Labels of a flow run: its result folder, and the process that it is."""
UNDER_WAY = [StateType.RUNNING, StateType.CANCELLING]
"""States of a run that some process should be behind."""
UNENDED = sorted(set(StateType) - set(TERMINAL_STATES))
"""States that what is inside of a dead run may be left in."""

_is_inside: ContextVar[bool] = ContextVar("segpipe_claiming", default=False)


@contextmanager
def claiming(layout: Layout) -> Iterator[None]:
    """Claim this flow run for this process, and end those of dead processes.

    Inside another such block nothing is done: a cohort speaks for its slides. What goes
    wrong here is logged; it ends no run.
    """
    run = FlowRunContext.get()
    if _is_inside.get() or run is None or run.flow_run is None:
        yield
        return
    try:
        with get_client(sync_client=True) as client:
            claim(client, run.flow_run.id, layout.out)
            ended = end_dead_runs(client, layout.out)
        for name in ended:
            get_run_logger().warning("Crashed, for its process is gone: run %s", name)
    except Exception:  # noqa: BLE001 - bookkeeping is never worth a run
        get_run_logger().warning(
            "Runs of dead processes weren't seen to", exc_info=True
        )
    token = _is_inside.set(True)
    try:
        yield
    finally:
        _is_inside.reset(token)


def claim(client: SyncPrefectClient, run_id: UUID, out: Path) -> None:
    """Label a flow run with this process and its result folder."""
    holder = json.dumps(asdict(Holder.here()))
    client.update_flow_run_labels(run_id, {OUT: str(out), HOLDER: holder})


def end_dead_runs(client: SyncPrefectClient, out: Path) -> list[str]:
    """End the flow runs into a folder whose processes are gone; return their names."""
    under_way = FlowRunFilter(state=flow_state(UNDER_WAY))
    found = every_run(client.read_flow_runs, flow_run_filter=under_way)
    dead = [run for run in found if _is_dead(run, out)]
    for run in dead:
        _end(client, run)
    return [run.name for run in dead]


def _is_dead(run: FlowRun, out: Path) -> bool:
    """Whether a run is one of ours into this folder, and its process gone for sure."""
    if run.labels.get(OUT) != str(out):
        return False
    try:
        holder = Holder(**json.loads(str(run.labels.get(HOLDER))))
    except (ValueError, TypeError):
        return False
    return judge_process(holder) == "free"


def _end(client: SyncPrefectClient, run: FlowRun) -> None:
    """End a run as Crashed, and before it what is inside of it."""
    message = "Its process was killed, or its machine went down."
    inside = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]),
        state=flow_state(UNENDED),
    )
    for child in every_run(client.read_flow_runs, flow_run_filter=inside):
        _end(client, child)
    tasks = every_run(
        client.read_task_runs,
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
        task_run_filter=TaskRunFilter(state=task_state(UNENDED)),
    )
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message=message), force=True)
    client.set_flow_run_state(run.id, Crashed(message=message), force=True)
