"""A flow over finished slides starts no workers and writes nothing."""

import shutil
from contextvars import copy_context

import pytest

from flows.segment_cohort import segment_cohort
from segpipe.stores.layout import Layout
from tasks.clusters import _cluster

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def out(tmp_path, serial):
    return shutil.copytree(serial, tmp_path / "out")


def by_flow(slide, out, settings):
    """Run the cohort as a Prefect worker would: no workers are there to be used."""

    def run():
        _cluster.set(None)
        return segment_cohort([slide.path.parent], out, settings, return_state=True)

    return copy_context().run(run)


def test_workers_are_started_for_the_first_slide_that_is_not_done(slide, settings, out):
    nowhere = settings.model_copy(
        update={"workers": None, "scheduler": "tcp://10.0.0.1:8786"}
    )
    state = by_flow(slide, out, nowhere)
    assert state.name == "Completed"
    assert [outcome.status for outcome in state.result()] == ["unchanged"]
    Layout(out).table(slide.id).unlink()
    assert by_flow(slide, out, nowhere).type.value == "FAILED"


def test_a_second_run_writes_nothing(slide, settings, out):
    by_flow(slide, out, settings)
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    by_flow(slide, out, settings)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == files


def test_an_inbox_may_be_empty(tmp_path, settings):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    state = segment_cohort([inbox], tmp_path / "out", settings, return_state=True)
    assert (state.name, state.message) == ("Completed", "0 slides")
