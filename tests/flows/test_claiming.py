"""What a killed process left "Running" in Prefect is Crashed by the next run."""

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL
from prefect.states import Running

from segpipe.stores.holders import Holder
from segpipe.stores.layout import Layout
from tasks.claiming import HOLDER, OUT, claiming

pytestmark = pytest.mark.usefixtures("server")

HANGS = """
import sys, time
from pathlib import Path
from prefect import flow, task
from prefect.context import FlowRunContext
from segpipe.stores.layout import Layout
from tasks.claiming import claiming

@task
def hang():
    time.sleep(600)

@flow
def slide(out):
    with claiming(Layout(Path(out))):
        print(FlowRunContext.get().flow_run.id, flush=True)
        hang()

@flow
def cohort(out):
    with claiming(Layout(Path(out))):
        print(FlowRunContext.get().flow_run.id, flush=True)
        slide(out)

cohort(sys.argv[1])
"""


@flow
def next_run(out):
    with claiming(Layout(out)):
        return FlowRunContext.get().flow_run.id


def under_way(client, run_id):
    """Return the states of the unended flow and task runs of a flow run.

    A task run may be there for a moment before its first state is.
    """
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    tasks = client.read_task_runs(flow_run_filter=chosen)
    states = [client.read_flow_run(run_id).state, *(task.state for task in tasks)]
    return [state for state in states if state and not state.is_final()]


@pytest.fixture
def killed(tmp_path):
    """Ids of the flow runs of a process that was killed in a task of the inner one."""
    with subprocess.Popen(
        [sys.executable, "-c", HANGS, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={"PREFECT_API_URL": PREFECT_API_URL.value(), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            ids = [process.stdout.readline().strip() for _ in range(2)]
            with get_client(sync_client=True) as client:
                give_up = time.monotonic() + 60
                while len(under_way(client, ids[1])) < 2 and time.monotonic() < give_up:
                    time.sleep(0.2)
        finally:
            process.kill()
    return ids


def foreign_run(client, out, holder):
    """Return a flow run that is Running, and says that it is of a process."""
    run = client.create_flow_run(next_run, parameters={"out": str(out)})
    client.set_flow_run_state(run.id, Running(), force=True)
    client.update_flow_run_labels(
        run.id, {OUT: str(out), HOLDER: json.dumps(asdict(holder))}
    )
    return run.id


def test_the_next_run_ends_what_a_killed_one_left_and_nothing_else(tmp_path, killed):
    here = Holder.here()
    gone = replace(here, started=here.started + 1)
    with get_client(sync_client=True) as client:
        assert [len(under_way(client, run_id)) for run_id in killed] == [2, 2]
        others = {
            "of another folder": foreign_run(client, tmp_path / "x", gone),
            "of another host": foreign_run(client, tmp_path, replace(gone, host="x")),
            "of a process that lives": foreign_run(client, tmp_path, here),
        }
        own = next_run(tmp_path)
        assert [under_way(client, run_id) for run_id in killed] == [[], []]
        for run_id in killed:
            assert client.read_flow_run(run_id).state.type == StateType.CRASHED
        assert client.read_flow_run(own).state.type == StateType.COMPLETED
        for whose, run_id in others.items():
            state = client.read_flow_run(run_id).state
            assert state.type == StateType.RUNNING, whose
            client.delete_flow_run(run_id)
