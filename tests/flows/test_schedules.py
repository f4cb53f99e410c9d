"""A night's run comes to be: the libraries that are installed can schedule at all."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.types.entrypoint import EntrypointType

from flows.segment_cohort import segment_cohort


@pytest.mark.usefixtures("server")
def test_a_cron_becomes_scheduled_runs():
    deployment = segment_cohort.to_deployment(
        name="nightly",
        cron="0 2 * * *",
        parameters={"inputs": ["/data/inbox"], "out": "/data/results"},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    identity = deployment.apply()
    mine = DeploymentFilter(id=DeploymentFilterId(any_=[identity]))
    with get_client(sync_client=True) as client:
        path = f"/deployments/{identity}/schedule"
        client.request("POST", path, json={"min_runs": 3}).raise_for_status()
        runs = client.read_flow_runs(deployment_filter=mine)
    assert len(runs) >= 3
    assert {run.expected_start_time.hour for run in runs} == {2}
