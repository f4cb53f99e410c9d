"""What Prefect, a log and metrics have of flows that no command line started."""

import json
import time

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    LogFilter,
    LogFilterFlowRunId,
)
from prometheus_client.parser import text_string_to_metric_families

from flows.segment_cohort import segment_cohort
from segpipe.stages.path import STAGES

pytestmark = pytest.mark.usefixtures("server", "scheduler")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, slide, settings, server, scheduler):  # noqa: ARG001
    """A cohort as a deployment runs it: a good slide and a broken one."""
    folder = tmp_path_factory.mktemp("watched")
    inbox = folder / "inbox"
    inbox.mkdir()
    (inbox / "watched.tif").symlink_to(slide.path)
    (inbox / "broken.svs").write_bytes(b"II*\0 and then nothing that makes sense")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGPIPE_LOG_FILE", str(folder / "run.jsonl"))
        patch.setenv("SEGPIPE_METRICS_FILE", str(folder / "segpipe.prom"))
        state = segment_cohort([inbox], folder / "out", settings, return_state=True)
    return folder, state.state_details.flow_run_id


def artifacts_of(chosen):
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(flow_run_filter=chosen)
    return {artifact.key: artifact for artifact in found}


def logged(flow_run_id, *, until):
    """Return the log of a flow run, which is sent with delay."""
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    lines, deadline = [], time.monotonic() + 20
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline and not any(until in line for line in lines):
            lines = [log.message for log in client.read_logs(chosen)]
            time.sleep(0.1)
    return lines


def test_the_cohort_has_a_bar_and_a_table(cohort):
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[cohort[1]]))
    artifacts = artifacts_of(chosen)
    bar, table = artifacts["segpipe-cohort"], artifacts["segpipe-slides"]
    assert (bar.type, bar.data) == ("progress", 100.0)
    assert bar.description.startswith("2/2 slides, 1 quarantined")
    broken, good = json.loads(table.data)
    assert (broken["slide"], broken["status"]) == ("broken", "quarantined")
    assert "damaged" in broken["reason"]
    assert (good["slide"], good["status"]) == ("watched", "done")
    assert good["nuclei"] > 50
    assert good["mm²"] > 0


def test_a_slide_has_a_bar_and_a_table_of_its_stages(cohort):
    assert cohort
    artifacts = artifacts_of(FlowRunFilter(name=FlowRunFilterName(any_=["watched"])))
    assert artifacts["segpipe-slide"].data == 100.0
    assert "watched: publishing" in artifacts["segpipe-slide"].description
    rows = json.loads(artifacts["segpipe-stages"].data)
    assert [row["stage"] for row in rows] == [stage.name for stage in STAGES]
    assert all(row["key"] and row["time"] for row in rows)


def test_the_flow_run_s_log_has_the_main_lines(cohort):
    lines = logged(cohort[1], until="watched: ")
    assert [line for line in lines if "broken: quarantined: " in line]
    assert [line for line in lines if "watched: " in line and "nuclei in" in line]
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=["watched"]))
        )
    lines = logged(run.id, until="measure: ")
    assert [line for line in lines if line.startswith("predict: 2 units, ")]


def test_the_environment_names_the_records(cohort):
    folder, _ = cohort
    lines = [
        json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()
    ]
    events = [line["event"] for line in lines]
    assert (events[0], events[-1]) == ("run_started", "run_ended")
    assert events.count("stage_done") == len(STAGES)
    assert {"slide_done", "slide_quarantined"} < set(events)
    batches = [line for line in lines if line["event"] == "batch_done"]
    assert all(batch["worker"].startswith("tcp://127.0.0.1:") for batch in batches)
    text = (folder / "segpipe.prom").read_text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    by_status = {
        sample.labels["status"]: sample.value
        for sample in families["segpipe_slides"].samples
    }
    assert (by_status["done"], by_status["quarantined"]) == (1, 1)
