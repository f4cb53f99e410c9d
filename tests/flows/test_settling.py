"""What an earlier service left under way is settled, however much it is."""

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Completed, Pending, Running, Scheduled

from flows.deploying import LEFT, settle
from tasks import paging


@flow
def slide():
    pass


@task
def stage():
    pass


@pytest.mark.usefixtures("server")
def test_every_run_is_settled_that_was_taken_up_and_no_other(monkeypatch):
    monkeypatch.setattr(paging, "PAGE", 2)
    with get_client(sync_client=True) as client:
        settle(client)
        left = [
            client.create_flow_run(slide, state=state).id
            for state in [Running(), Pending(), *[Running()] * 3]
        ]
        others = [
            client.create_flow_run(slide, state=state).id
            for state in (Scheduled(), Completed())
        ]
        stages = [
            client.create_task_run(stage, left[0], str(n), state=Running()).id
            for n in range(3)
        ]
        assert settle(client) == len(left) + len(stages)
        settled = [client.read_flow_run(each).state for each in left]
        settled += [client.read_task_run(each).state for each in stages]
        assert {state.type for state in settled} == {StateType.CRASHED}
        assert {state.message for state in settled} == {LEFT}
        kept = [client.read_flow_run(each).state.type for each in others]
        assert kept == [StateType.SCHEDULED, StateType.COMPLETED]
        assert settle(client) == 0
