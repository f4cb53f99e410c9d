"""What is recorded of a run: a line of JSON an event, and metrics that parse."""

import json
import stat

import pytest
from prometheus_client.parser import text_string_to_metric_families
from slide_events import batch, ended, whole_slide

from segpipe.config import Settings
from segpipe.errors import OutputNotWritable, SettingsError, StageFailed
from segpipe.stages.events import BatchRetried, StageStopped, WorkersLost
from tasks.artifacts import CohortContents
from tasks.listening import listening, silent, tell, together
from tasks.metrics import Metric, Sample, exposition
from tasks.standing import Standing
from tasks.watching import recorded, telling_of_run

ERROR = OSError(5, "Input/output\nerror")
MISHAPS = (
    BatchRetried(slide_id="a", stage="predict", units=(4, 5), attempt=1, error=ERROR),
    WorkersLost(slide_id="a", stage="predict", workers=("tcp://127.0.0.1:1",)),
    StageStopped(
        slide_id="a", stage="label", seconds=1.0, error=StageFailed("unit 13 killed")
    ),
)


def record(folder, *news, n_slides=2):
    log, metrics = folder / "logs" / "run.jsonl", folder / "segpipe.prom"
    with (
        recorded(log, metrics) as listener,
        listening(listener),
        telling_of_run(n_slides, folder, Settings()),
    ):
        for event in news:
            tell(event)
    return [json.loads(line) for line in log.read_text().splitlines()], metrics


def samples(path):
    """Return every sample of a metrics file, by name and the label that varies."""
    families = text_string_to_metric_families(path.read_text())
    return {
        (sample.name, sample.labels.get("status") or sample.labels.get("stage")): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def recorded_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("record")
    slide = [event for _, event in whole_slide("a", 0)]
    return record(folder, *slide[:3], *MISHAPS, *slide[3:], ended("b", "quarantined"))


def test_every_event_is_a_line(recorded_run):
    lines, _ = recorded_run
    assert [line["event"] for line in lines] == [
        "run_started", "slide_planned",
        "stage_started", "batch_done", "batch_retried", "workers_lost",
        "stage_stopped", "stage_done",
        *["stage_started", "batch_done", "stage_done"] * 2,
        "slide_done", "slide_quarantined", "run_ended",
    ]  # fmt: skip
    assert len({line["run"] for line in lines}) == 1
    assert all(line["time"].endswith("Z") for line in lines)


def test_lines_of_a_stage_name_slide_stage_and_key(recorded_run):
    lines, _ = recorded_run
    of_stages = [line for line in lines if line["event"].startswith(("stage", "batch"))]
    assert {line["slide"] for line in of_stages} == {"a"}
    assert all(line["key"] == f"key-{line['stage']}" for line in of_stages)


def test_what_went_wrong_is_found_by_its_level(recorded_run):
    lines, _ = recorded_run
    by_level = {
        level: [line["event"] for line in lines if line["level"] == level]
        for level in ("warning", "error")
    }
    assert by_level == {
        "warning": ["batch_retried", "workers_lost", "run_ended"],
        "error": ["stage_stopped", "slide_quarantined"],
    }
    retried = next(line for line in lines if line["event"] == "batch_retried")
    assert (retried["error"], retried["units"]) == ("OSError", [4, 5])
    assert retried["reason"] == "[Errno 5] Input/output error"


def test_metrics_are_what_prometheus_reads(recorded_run):
    _, path = recorded_run
    found = samples(path)
    assert found["segpipe_slides_total", "done"] == 1
    assert found["segpipe_slides_total", "quarantined"] == 1
    assert found["segpipe_slides_total", "busy"] == 0
    assert found["segpipe_nuclei_total", None] == 50
    assert found["segpipe_tissue_mm2_total", None] == 2.0
    assert found["segpipe_stage_seconds_total", "tile"] == 10.0
    assert found["segpipe_stage_units_total", "predict"] == 20
    assert found["segpipe_batches_retried_total", None] == 1
    assert found["segpipe_workers_lost_total", None] == 1
    assert found["segpipe_run_active", None] == 0
    assert found["segpipe_last_success_timestamp_seconds", None] == 0
    assert path.stat().st_mode & stat.S_IROTH


def test_the_last_success_outlives_runs_that_fail(tmp_path):
    success = ("segpipe_last_success_timestamp_seconds", None)
    _, path = record(tmp_path, ended("a"))
    succeeded_s = samples(path)[success]
    assert succeeded_s > 1e9
    _, path = record(tmp_path, ended("a", "quarantined"))
    assert samples(path)[success] == succeeded_s
    with pytest.raises(KeyboardInterrupt):
        record_interrupted(tmp_path)
    assert samples(path)[success] == succeeded_s


def test_a_slide_that_another_run_does_is_no_failure(tmp_path):
    lines, path = record(tmp_path, ended("a"), ended("b", "busy"))
    by_event = {line["event"]: line for line in lines}
    assert by_event["slide_busy"]["level"] == "info"
    assert by_event["slide_busy"]["reason"] == "another run"
    assert by_event["run_ended"]["level"] == "info"
    assert by_event["run_ended"]["n_busy"] == 1
    found = samples(path)
    assert found["segpipe_slides_total", "busy"] == 1
    assert found["segpipe_last_success_timestamp_seconds", None] > 1e9


def test_on_a_page_quarantined_slides_come_before_busy_ones():
    page = CohortContents(run=Standing(n_slides=3, started_s=0.0))
    for status in ("quarantined", "done", "busy"):
        page.hear(ended(status, status))
    assert [row["status"] for row in page.failed] == ["quarantined"]
    assert [row["status"] for row in page.rows()] == ["quarantined", "busy", "done"]


def record_interrupted(folder):
    with (
        recorded(folder / "run.jsonl", folder / "segpipe.prom") as listener,
        listening(listener),
        telling_of_run(1, folder, Settings()),
    ):
        raise KeyboardInterrupt


def test_a_run_that_is_interrupted_says_so(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        record_interrupted(tmp_path)
    last = json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["error"]) == ("run_ended", "KeyboardInterrupt")


def test_runs_share_a_log_and_are_told_apart(tmp_path):
    record(tmp_path, ended("a"))
    lines, _ = record(tmp_path, ended("a", "unchanged"))
    assert len({line["run"] for line in lines}) == 2


def test_without_batches_the_log_is_short(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGPIPE_LOG_LEVEL", "info")
    lines, _ = record(tmp_path, batch("tile", 1), ended("a"))
    assert [line["event"] for line in lines] == [
        "run_started",
        "slide_done",
        "run_ended",
    ]
    monkeypatch.setenv("SEGPIPE_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError, match="loud"):
        record(tmp_path)


@pytest.mark.parametrize("kind", ["log", "metrics"])
def test_a_record_that_can_not_be_kept_is_refused_at_once(tmp_path, kind):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x"
    files = (path, None) if kind == "log" else (None, path)
    with (
        pytest.raises(OutputNotWritable, match=f"--{kind}-file"),
        recorded(*files),
    ):
        pass


def test_a_view_that_fails_is_left_out_and_the_run_goes_on(tmp_path, capsys):
    heard = []
    metrics = tmp_path / "gone" / "segpipe.prom"
    with recorded(None, metrics) as record_, listening(together(record_, heard.append)):
        metrics.unlink()
        metrics.parent.rmdir()
        metrics.parent.touch()
        with telling_of_run(1, tmp_path, Settings()):
            tell(ended("a"))
    assert len(heard) == 3
    assert capsys.readouterr().err.count("metrics file") == 1


def test_nobody_listening_is_nobody():
    assert together() is silent
    assert together(silent, silent) is silent


def test_labels_that_need_escaping_are_read_back():
    value = 'C:\\slides "new"\nfolder'
    metric = Metric(
        name="x", kind="gauge", help="X.", samples=(Sample(value=1.5, labels={}),)
    )
    (family,) = text_string_to_metric_families(exposition([metric], {"out": value}))
    assert family.samples[0].labels == {"out": value}
    assert family.samples[0].value == 1.5
