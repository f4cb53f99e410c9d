"""Where a run stands follows from its events, and nothing in it is made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slide_events import batch, ended, planned, whole_slide

from segpipe.stages.events import BatchRetried, StageStarted, WorkersLost
from tasks.standing import Standing
from tasks.wording import mishap, run_in_words, slide_in_words, span


def standing(*events, n_slides=1):
    """Return a run that heard events, given with their seconds."""
    run = Standing(n_slides=n_slides, started_s=0.0)
    for now_s, event in events:
        run.hear(event, float(now_s))
    return run


def test_before_the_first_batch_no_time_is_said():
    run = standing((0, planned()), (0, StageStarted("a", "tile", 40, 0)))
    assert run.slide_left(run.slides["a"], 5.0) is None
    assert run.run_left(5.0) is None
    assert slide_in_words(run, run.slides["a"], 5.0) == "a: tile 0/40 windows"


def test_stages_never_measured_make_it_at_least():
    run = standing(
        (0, planned()),
        (0, StageStarted("a", "tile", 40, 0)),
        (10, batch("tile", *range(10))),
    )
    left = run.slide_left(run.slides["a"], 10.0)
    assert (left.seconds, left.at_least) == (30.0, True)
    assert slide_in_words(run, run.slides["a"], 10.0) == (
        "a: tile 10/40 windows, 1.0 windows/s, 0.05 mm²/s, at least 30 s left"
    )


def test_stages_to_come_go_as_on_the_slide_before():
    run = standing(
        *whole_slide("a", 0),
        (30, planned("b")),
        (30, StageStarted("b", "tile", 40, 0)),
        (35, batch("tile", *range(20), slide_id="b")),
        n_slides=2,
    )
    left = run.slide_left(run.slides["b"], 35.0)
    assert (left.seconds, left.at_least) == (pytest.approx(5 + 10 + 10), False)
    assert run.run_left(35.0) == left


def test_slides_to_come_take_as_long_as_those_done():
    run = standing(*whole_slide("a", 0), (31, ended("bad", "quarantined")), n_slides=12)
    assert run.run_left(31.0).seconds == pytest.approx(10 * 30 - 1)
    assert run_in_words(run, 31.0) == (
        "2/12 slides, about 4 min 59 s left, 1 quarantined, 50 nuclei, "
        "2.00 mm² tissue done"
    )


def test_slides_done_before_tell_nothing_of_speed():
    known = [(0, ended(str(i), "unchanged")) for i in range(5)]
    run = standing(*known, n_slides=9)
    assert run.run_left(1.0) is None
    assert (run.n_ended, run.n_nuclei) == (5, 0)


def test_what_an_earlier_run_did_is_said_and_no_part_of_the_speed():
    run = standing((0, planned()), (0, StageStarted("a", "predict", 20, 16)))
    stage = run.slides["a"].current
    said = "a: predict 16/20 windows (16 were done before)"
    assert slide_in_words(run, run.slides["a"], 0.0) == said
    run.hear(batch("predict", 16, 17), 4.0)
    assert stage.units_per_s(4.0) == 0.5
    assert stage.n_done == 18


def test_a_stage_that_does_not_move_says_for_how_long():
    run = standing(
        (0, planned()),
        (0, StageStarted("a", "tile", 40, 0)),
        (10, batch("tile", *range(10))),
    )
    assert "no batch" not in slide_in_words(run, run.slides["a"], 69.0)
    assert "no batch ended for 2 min 00 s" in slide_in_words(
        run, run.slides["a"], 130.0
    )


def test_several_slides_stand_side_by_side():
    events = sorted(
        [*whole_slide("a", 0), *whole_slide("b", 5)], key=lambda event: event[0]
    )
    run = standing(*[event for event in events if event[0] < 20], n_slides=2)
    assert list(run.slides) == ["a", "b"]
    assert [slide.current.name for slide in run.slides.values()] == ["predict"] * 2
    assert standing(*events, n_slides=2).n_nuclei == 100


def test_mishaps_are_counted_and_named():
    error = OSError(5, "Input/output error")
    retried = BatchRetried(
        slide_id="a", stage="tile", units=(4, 5), attempt=1, error=error
    )
    lost = WorkersLost(slide_id="a", stage="tile", workers=("tcp://127.0.0.1:1",))
    run = standing((0, retried), (1, lost))
    assert (run.n_retried, run.n_lost) == (1, 1)
    assert mishap(retried) == (
        "a: tile: units 4 to 5 tried again after OSError: [Errno 5] Input/output error"
    )
    assert "tcp://127.0.0.1:1" in mishap(lost)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    gap_s=st.floats(0.1, 1e4),
)
def test_at_a_steady_pace_the_time_left_is_the_time_it_takes(sizes, gap_s):
    n_units, now_s, done = sum(sizes), 0.0, 0
    run = standing((0, StageStarted("a", "tile", n_units, 0)))
    for size in sizes:
        now_s += size * gap_s
        run.hear(batch("tile", *range(done, done + size)), now_s)
        done += size
        left = run.slide_left(run.slides["a"], now_s)
        expected_s = (n_units - done) * gap_s
        assert left.seconds == pytest.approx(expected_s)
        assert run.slides["a"].share_done == pytest.approx(done / n_units)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (42.4, "42 s"), (61, "1 min 01 s"),
     (3599.6, "1 h 00 min"), (7380, "2 h 03 min")],
)  # fmt: skip
def test_spans_are_said_with_the_precision_that_matters(seconds, said):
    assert span(seconds) == said
