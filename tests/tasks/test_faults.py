"""Which errors are tried again, which quarantine a slide, which end a run."""

import errno
import json

import pytest

from segpipe.config import SlideRef
from segpipe.errors import (
    NoTissue,
    OutputNotOurs,
    SlideCorrupt,
    StageFailed,
    StoreDamaged,
    WeightsError,
)
from segpipe.stores.layout import Layout
from tasks.faults import ClusterLost, blames_the_slide, is_transient
from tasks.quarantining import naming_stage, quarantining

SLIDE = SlideRef(id="slide", path="slide.svs")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "I/O error"), TimeoutError(), ConnectionResetError()],
    ids=repr,
)
def test_errors_that_may_pass_are_tried_again(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        FileNotFoundError(),
        PermissionError(),
        SlideCorrupt("truncated"),
        StoreDamaged("a chunk"),
        ClusterLost("gone"),
        ValueError("a bug"),
    ],
    ids=repr,
)
def test_errors_that_stay_are_not(error):
    assert not is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        SlideCorrupt(),
        NoTissue(),
        StageFailed(),
        StoreDamaged("a chunk"),
        ValueError("a bug"),
    ],
    ids=repr,
)
def test_a_slide_is_quarantined_by_its_own_fault(error, tmp_path):
    assert blames_the_slide(error)
    with pytest.raises(type(error)), quarantining(SLIDE, tmp_path):
        raise error
    assert Layout(tmp_path).quarantine("slide").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ClusterLost(),
        OutputNotOurs(),
        WeightsError(),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_what_every_slide_would_meet_quarantines_none(error, tmp_path):
    assert not blames_the_slide(error)
    with pytest.raises(type(error)), quarantining(SLIDE, tmp_path):
        raise error
    assert not Layout(tmp_path).quarantine("slide").exists()


def interrupted():
    try:
        raise KeyboardInterrupt
    finally:
        message = "half done"
        raise ValueError(message)


def test_ctrl_c_is_no_fault_of_the_slide_even_if_hidden_by_what_it_broke(tmp_path):
    with pytest.raises(ValueError, match="half done"), quarantining(SLIDE, tmp_path):
        interrupted()
    assert not Layout(tmp_path).quarantine("slide").exists()


def test_the_quarantine_names_the_stage(tmp_path):
    message = "unit 3 could not be computed"
    with (
        pytest.raises(StageFailed),
        quarantining(SLIDE, tmp_path),
        naming_stage(lambda: "label"),
    ):
        raise StageFailed(message)
    written = json.loads(Layout(tmp_path).quarantine("slide").read_text())
    assert written["stage"] == "label"
    assert written["reason"] == message
    assert written["error"] == "StageFailed"
