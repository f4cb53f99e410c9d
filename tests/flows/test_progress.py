"""What a person sees of a run, in a terminal of any width and in a file."""

import io
import re

import pytest
from rich.console import Console
from slide_events import batch, ended, planned, whole_slide

from flows import progress as shown
from flows.progress import _Lines, _View, progress
from segpipe.stages.events import BatchRetried, StageDone, StageStarted, WorkersLost
from tasks.listening import silent
from tasks.standing import Standing

ERROR = OSError(5, "Input/output error")
LOST = WorkersLost(slide_id="a", stage="tile", workers=("tcp://127.0.0.1:1",))
RETRIED = BatchRetried(slide_id="a", stage="tile", units=(4, 5), attempt=1, error=ERROR)


def frame(view, width):
    """Return the lines of a frame, without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    view.console = console
    console.print(view.render())
    return console.file.getvalue().splitlines()


@pytest.fixture
def view():
    run = Standing(n_slides=9, started_s=0.0)
    console = Console(file=io.StringIO(), width=100, color_system=None)
    return _View(run=run, console=console)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_slides_under_way_stand_side_by_side_in_any_width(view, width):
    for slide_id in ("a", "a-slide-with-a-name-as-long-as-those-of-large-cohorts"):
        view(planned(slide_id))
        view(StageStarted(slide_id, "predict", 20, 0))
        view(batch("predict", 1, 2, slide_id=slide_id))
    lines = frame(view, width)
    assert len(lines) == 3
    assert max(len(line) for line in lines) <= width
    assert all("2/20 w" in line for line in lines[:2])
    assert "0/9 slides" in lines[2]


def test_one_slide_has_a_row_for_each_stage(view):
    view(planned("a"))
    view(StageDone("a", "tile", 40, 0.0, resumed=True))
    view(StageStarted("a", "predict", 20, 16))
    text = "\n".join(frame(view, 100))
    assert "a  2.00 mm² tissue" in text
    assert re.search(r"✓ tile .* 40/40 windows +done before", text)
    assert re.search(r"predict .* 16/20 windows +16 done before", text)
    assert re.search(r"label .* 0/10 tiles", text)


def test_more_slides_than_there_are_rows_are_counted(view):
    for i in range(30):
        view(planned(f"slide-{i}"))
    text = "\n".join(frame(view, 100))
    assert "and 18 more" in text


def test_what_happened_stays_in_the_terminal(view):
    for news in (RETRIED, LOST, ended("a"), ended("b", "quarantined")):
        view(news)
    said = view.console.file.getvalue()
    assert "units 4 to 5 tried again after OSError" in said
    assert "lost worker tcp://127.0.0.1:1" in said
    assert "✓ a: 50 nuclei in 2.00 mm²" in said
    assert "✗ b: quarantined: no page" in said


def test_slides_done_before_leave_no_line(view):
    view(ended("a", "unchanged"))
    assert view.console.file.getvalue() == ""
    assert "1 done before" in "\n".join(frame(view, 100))


def test_elsewhere_a_stage_is_a_plain_line(capsys):
    lines = _Lines(run=Standing(n_slides=1, started_s=0.0))
    for _, event in whole_slide("a", 0):
        lines(event)
    lines(LOST)
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "a: tile 40 windows, 10 s",
        "a: predict 20 windows, 10 s",
        "a: label 10 tiles, 10 s",
        "[1/1] a: 50 nuclei in 2.00 mm²",
        "a: tile: lost worker tcp://127.0.0.1:1; its batches go to others",
    ]
    assert "\x1b" not in said
    assert "\r" not in said


def test_a_long_stage_says_where_it_is_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(shown, "PLAIN_LINE_S", 0.0)
    lines = _Lines(run=Standing(n_slides=1, started_s=0.0))
    lines(planned("a"))
    lines(StageStarted("a", "predict", 20, 16))
    lines.say_where()
    assert (
        capsys.readouterr().err.splitlines()
        == ["a: predict 16/20 windows (16 were done before)"] * 2
    )
    lines(StageDone("a", "predict", 20, 1.0, resumed=False))
    capsys.readouterr()
    lines.say_where()
    assert capsys.readouterr().err == ""


def test_who_wants_quiet_gets_nothing():
    with progress(3, quiet=True) as listener:
        assert listener is silent
