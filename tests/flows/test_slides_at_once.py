"""Slides of a cohort under way together come to what they come to one by one."""

import shutil

import pytest

from flows.segment_cohort import segment_cohort
from segpipe import read_nuclei

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("server", "scheduler")]


def test_a_cohort_side_by_side_comes_to_the_same_tables(
    tmp_path, slide, settings, serial
):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    names = ["one", "three", "two"]
    for name in names:
        shutil.copy(slide.path, inbox / f"{name}.tif")
    (inbox / "broken.svs").write_bytes(b"II*\0 and then nothing that makes sense")
    together = settings.model_copy(update={"slides_at_once": 2})
    state = segment_cohort([inbox], out, together, return_state=True)
    found = {outcome.slide.id: outcome.status for outcome in state.result()}
    assert found == {"broken": "quarantined"} | dict.fromkeys(names, "done")
    assert state.name == "CompletedWithQuarantine"
    alone = read_nuclei(serial).drop(columns="slide_id")
    for name in names:
        assert read_nuclei(out, name).drop(columns="slide_id").equals(alone)
