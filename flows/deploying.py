"""Put segpipe's deployments in place on one machine: a program that `serve` runs.

What runs of an earlier service left in progress is settled first: the service holds the
database alone, so no process can be behind a run that is said to be under way.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    TaskRunFilter,
)
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    State,
    StateType,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import Flow
from prefect.schedules import Cron
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType
from pydantic import field_validator

from flows.evaluate_network import evaluate_network
from flows.segment_cohort import segment_cohort
from flows.segment_slide import segment_slide
from flows.train_network import train_network
from segpipe.config import Frozen
from tasks.paging import every_run, flow_state, task_state
from tasks.single_machine import POOL

TAKEN_UP = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
"""States of a run that this service has begun to start, and that hasn't ended."""
LEFT = "The service stopped while this was under way; the next run goes on from here."
"""What a run is told that no process is behind."""


class Wanted(Frozen):
    """What `segpipe serve` was asked to deploy."""

    inbox: Path
    """Folder that the cohort is read from."""
    out: Path
    """Result folder."""
    settings: dict[str, Any]
    """Settings by their names, as far as they were chosen."""
    cron: str | None
    """When the cohort runs; ``None`` is only when asked."""
    timezone: str
    """Which the cron is meant in."""

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str | None) -> str | None:
        if cron is not None:
            CronSchedule(cron=cron)
        return cron


def deployments(wanted: Wanted) -> list[RunnerDeployment]:
    """Return what is deployed; put in place twice, it is there once."""
    chosen = {"out": str(wanted.out), "settings": wanted.settings}
    cohort: Any = segment_cohort.to_deployment(
        name="segment-cohort",
        description="Every slide in the inbox that isn't done yet.",
        schedules=_nightly(wanted),
        parameters={"inputs": [str(wanted.inbox)], **chosen},
        # A night that takes longer than a day is not joined by the next one.
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
        work_pool_name=POOL,
    )
    return [
        cohort,
        _when_asked(segment_slide, "One slide, when asked for.", chosen),
        _when_asked(train_network, "A network, by a recipe.", {}),
        _when_asked(evaluate_network, "A network's scores.", {}),
    ]


def _nightly(wanted: Wanted) -> list[Any]:
    return [Cron(wanted.cron, timezone=wanted.timezone)] if wanted.cron else []


def _when_asked(
    flow: Flow[..., Any], description: str, parameters: dict[str, Any]
) -> RunnerDeployment:
    deployment: Any = flow.to_deployment(
        name=flow.name,
        description=description,
        parameters=parameters,
        entrypoint_type=EntrypointType.MODULE_PATH,
        work_pool_name=POOL,
    )
    return cast("RunnerDeployment", deployment)


def settle(client: SyncPrefectClient) -> int:
    """Say of every run that is under way that it isn't; return how many there were."""
    left: State[Any] = Crashed(message=LEFT)
    of_flows = FlowRunFilter(state=flow_state(TAKEN_UP))
    of_tasks = TaskRunFilter(state=task_state(TAKEN_UP))
    task_runs = every_run(client.read_task_runs, task_run_filter=of_tasks)
    flow_runs = every_run(client.read_flow_runs, flow_run_filter=of_flows)
    for task_run in task_runs:
        client.set_task_run_state(task_run.id, left, force=True)
    for flow_run in flow_runs:
        client.set_flow_run_state(flow_run.id, left, force=True)
    return len(task_runs) + len(flow_runs)


def deploy(wanted: Wanted) -> None:
    """Settle what is left, and put the work pool and the deployments in place."""
    with get_client(sync_client=True) as client:
        if n_settled := settle(client):
            sys.stdout.write(f"{n_settled} runs were left under way: settled\n")
        try:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        except ObjectAlreadyExists:
            sys.stdout.write(f"work pool {POOL} is there\n")
    for deployment in deployments(wanted):
        deployment.apply()
        sys.stdout.write(f"{deployment.full_name} is deployed\n")


if __name__ == "__main__":
    deploy(Wanted.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8")))
