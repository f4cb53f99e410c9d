"""deploy/prefect.yaml and `segpipe serve` deploy the same, and it can be called."""

import importlib
import json

import pytest
import yaml
from prefect.utilities.callables import parameter_schema

from flows.deploying import Wanted, deployments
from flows.evaluate_network import evaluate_network
from flows.segment_cohort import segment_cohort
from flows.segment_slide import segment_slide
from flows.train_network import train_network

NAMES = ["segment-cohort", "segment-slide", "train-network", "evaluate-network"]
CALLS = {
    segment_cohort: {"inputs": ["/data/inbox"], "out": "/data/out", "settings": {}},
    segment_slide: {
        "slide": {"id": "a", "path": "/data/inbox/a.svs"},
        "settings": {"keep": ["maps"], "workers": 4},
        "out": "/data/out",
    },
    train_network: {"recipe": "hoverlite", "out": "/data/run", "steps": 10},
    evaluate_network: {"manifest": "/data/m.csv", "out": "/o", "weights": "/w.st"},
}
"""Parameters as the UI or `prefect deployment run` sends them."""


@pytest.fixture(scope="module")
def written(deploy):
    return yaml.safe_load((deploy / "prefect.yaml").read_text())


@pytest.fixture(scope="module")
def served():
    return deployments(
        Wanted(
            inbox="/data/inbox",
            out="/data/results",
            settings={},
            cron="0 2 * * *",
            timezone="UTC",
        )
    )


def test_the_file_and_serve_deploy_the_same(written, served):
    assert [one["name"] for one in written["deployments"]] == NAMES
    assert [one.name for one in served] == NAMES
    for one, other in zip(written["deployments"], served, strict=True):
        assert one["entrypoint"] == other.entrypoint
        assert one.get("parameters", {}) == other.parameters
        assert one["work_pool"]["name"] == other.work_pool_name
    limit = written["deployments"][0]["concurrency_limit"]
    assert limit["limit"] == served[0].concurrency_limit
    assert (
        limit["collision_strategy"] == served[0].concurrency_options.collision_strategy
    )
    (schedule,) = written["deployments"][0]["schedules"]
    (other,) = served[0].schedules
    assert schedule["cron"] == other.schedule.cron
    assert schedule["timezone"] == other.schedule.timezone


def test_every_entrypoint_is_a_flow_and_takes_what_is_deployed(written):
    for one in written["deployments"]:
        module, _, name = one["entrypoint"].rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        assert flow.name == one["name"]
        assert set(one.get("parameters", {})) <= set(parameter_schema(flow).properties)


def test_without_a_cron_nothing_is_scheduled():
    wanted = {"inbox": "/i", "out": "/o", "settings": {}, "timezone": "UTC"}
    assert deployments(Wanted(cron=None, **wanted))[0].schedules == []


@pytest.mark.parametrize("flow", CALLS, ids=lambda flow: flow.name)
def test_a_flow_can_be_called_with_json_alone(flow):
    sent = json.loads(json.dumps(CALLS[flow]))
    validated = flow.validate_parameters(sent)
    assert set(sent) <= set(validated)
    schema = parameter_schema(flow)
    assert json.dumps(schema.model_dump())
    assert set(schema.required) <= set(sent)
