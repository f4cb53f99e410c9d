"""By Prefect and Dask a slide comes to the same bytes as by the builtin map."""

import os
import signal
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from flows.segment_cohort import segment_cohort
from flows.segment_slide import segment_slide
from segpipe.errors import MppMissing, SlideCorrupt
from segpipe.stages.events import BatchDone
from segpipe.stages.path import STAGES
from segpipe.stores.layout import Layout
from segpipe.tables.slides import read_slides
from tasks.listening import listening
from tasks.mapping import connected

pytestmark = pytest.mark.usefixtures("server", "scheduler")

WITH_TIMES = {"slides.parquet", "report.html", "reports/cut.html"}
"""Files that say how long stages took."""


def contents(out):
    """Return every file of a result folder, less the ledger and the times."""
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.relative_to(out).parts[0] != "ledger"
    }
    return {name: data for name, data in files.items() if name not in WITH_TIMES}


def states_of_tasks(state, *, n):
    """Return the states of a flow run's tasks; the server hears of them with delay."""
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    states, deadline = {}, time.monotonic() + 20
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            runs = client.read_task_runs(flow_run_filter=chosen)
            states = {run.name: run.state_name for run in runs}
            if len(states) == n and set(states.values()) <= {"Completed", "Failed"}:
                break
            time.sleep(0.1)
    return states


@pytest.fixture(scope="module")
def by_flow(tmp_path_factory, slide, settings, server, scheduler):  # noqa: ARG001
    out = tmp_path_factory.mktemp("flow")
    heard = []
    with listening(heard.append):
        state = segment_slide(slide, settings, out, return_state=True)
    return out, state, heard


def test_the_flow_comes_to_the_same_bytes(by_flow, serial):
    out, state, _ = by_flow
    assert state.name == "Completed"
    assert contents(out) == contents(serial)
    assert any(name.endswith(".parquet") for name in contents(out))


def test_each_stage_is_a_task_and_is_heard(by_flow):
    _, state, heard = by_flow
    names = [stage.name for stage in STAGES]
    assert list(dict.fromkeys(event.stage for event in heard)) == ["plan", *names]
    batches = [event for event in heard if isinstance(event, BatchDone)]
    assert {batch.worker[:16] for batch in batches} == {"tcp://127.0.0.1:"}
    expected = {f"{name} cut": "Completed" for name in ["plan", *names, "publish"]}
    assert states_of_tasks(state, n=len(expected)) == expected


def test_a_second_run_does_nothing(by_flow, slide, settings):
    out, _, _ = by_flow
    before = {path: path.stat().st_mtime_ns for path in out.glob("stores/**/c/**/*")}
    heard = []
    with listening(heard.append):
        row = segment_slide(slide, settings, out)
    assert heard == []
    assert row.n_nuclei > 50
    assert before == {
        path: path.stat().st_mtime_ns for path in out.glob("stores/**/c/**/*")
    }


def test_a_worker_killed_in_the_middle_changes_nothing(
    tmp_path, slide, settings, serial, scheduler
):
    to_hit = {"predict", "label", "measure"}

    def kill_one(event):
        if isinstance(event, BatchDone) and event.stage in to_hit:
            to_hit.remove(event.stage)
            with connected(scheduler) as client:
                pids = client.run(os.getpid)
            os.kill(next(iter(pids.values())), signal.SIGKILL)

    with listening(kill_one):
        segment_slide(slide, settings, tmp_path)
    assert to_hit == set()
    assert contents(tmp_path) == contents(serial)


def test_a_cohort_goes_on_past_bad_slides_and_says_so(tmp_path, slide, settings):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    (inbox / "good.tif").symlink_to(slide.path)
    (inbox / "broken.svs").write_bytes(b"II*\0 and then nothing that makes sense")
    (inbox / "empty.tif").touch()
    heard = []
    with listening(heard.append):
        state = segment_cohort([inbox], out, settings, return_state=True)
    assert state.name == "CompletedWithQuarantine"
    assert state.type.value == "COMPLETED"
    outcomes = {outcome.slide.id: outcome.status for outcome in state.result()}
    assert outcomes == {
        "broken": "quarantined",
        "empty": "quarantined",
        "good": "done",
    }
    rows = {row.slide_id: row.status for row in read_slides(Layout(out).slides)}
    assert rows == outcomes
    assert {path.stem for path in Layout(out).quarantine("x").parent.iterdir()} == {
        "broken",
        "empty",
    }


def test_a_slide_that_fails_is_failed_in_prefect_too(tmp_path, slide, settings):
    path = Path(tmp_path / "broken.svs")
    path.write_bytes(b"no slide at all")
    broken = slide.model_copy(update={"path": path})
    state = segment_slide(broken, settings, tmp_path / "out", return_state=True)
    assert state.name == "Failed"
    with pytest.raises((SlideCorrupt, MppMissing)):
        state.result()
    assert states_of_tasks(state, n=1) == {"plan cut": "Failed"}
    assert Layout(tmp_path / "out").quarantine("cut").exists()
