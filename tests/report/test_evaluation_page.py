"""The page of an evaluation is whole, loads nothing, and marks each mistake once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from test_pages import NASTY, parsed

from segpipe.metrics import Ranking, Reliability
from segpipe.report.charts import histogram
from segpipe.report.curve_charts import ordered, precision_recall
from segpipe.report.evaluation_page import (
    EvaluationReport,
    Look,
    SetReport,
    evaluation_page,
)
from segpipe.report.mistakes import densest, draw_mistakes, mistakes
from segpipe.report.score_tables import SCORES, confusion_table


def disc(centre, radius=8, side=60):
    y, x = np.mgrid[:side, :side]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


@pytest.fixture
def maps():
    """One nucleus right, one missed, one invented."""
    truth = disc((15, 15)) * 3 + disc((15, 45)) * 9
    found = disc((16, 15)) * 5 + disc((45, 45)) * 3
    return truth.astype(np.int32), found.astype(np.int32)


def test_each_nucleus_is_right_missed_or_invented(maps):
    truth, found = maps
    parts = mistakes(truth, found)
    assert np.array_equal(parts.matched, truth * (truth == 3))
    assert np.array_equal(parts.missed, truth * (truth == 9))
    assert np.array_equal(parts.right, found * (found == 5))
    assert np.array_equal(parts.invented, found * (found == 3))


def test_pictures_show_where_mistakes_or_matches_are_dense(maps):
    rgb = np.full((60, 60, 3), 200, np.uint8)
    drawn = draw_mistakes(rgb, *maps, at_mistakes=True)
    assert drawn.shape == (768, 768, 3)
    assert (rgb == 200).all()
    nothing = np.zeros((60, 60), np.int32)
    empty = draw_mistakes(rgb, nothing, nothing, at_mistakes=False)
    assert (empty == 200).all()


@given(hnp.arrays(np.bool_, (7, 9)))
def test_the_densest_square_holds_most(mask):
    box = densest(mask, 4)
    assert box.shape == (4, 4)
    held = mask[box.slices()].sum()
    assert all(
        mask[y : y + 4, x : x + 4].sum() <= held for y in range(4) for x in range(6)
    )


def report(**changes):
    row = dict.fromkeys((*SCORES, "warping_error"), 0.5)
    row |= {"n_images": 2, "n_nuclei": 7, "pooled": {"pq": 0.25, "map": None}}
    row |= {"ap_pooled": {"0.50": 0.5, "0.55": None}}
    row |= {"calibration": {"expected_error": None}}
    look = Look(source="data:image/jpeg;base64,", caption=NASTY)
    one = SetReport(
        name=NASTY,
        n_truth=7,
        n_found=9,
        n_matched=3,
        n_detected=5,
        pq={"a": 0.5, NASTY: float("nan")},
        organs={NASTY: 0.25, "colon": 0.5},
        worst=[look],
        best=[],
        **changes,
    )
    return EvaluationReport(
        title=NASTY,
        subtitle="two images",
        types=("round", NASTY),
        facts={"network": NASTY},
        metrics={NASTY: row},
        sets=[one],
    )


def test_the_page_is_whole_and_loads_nothing():
    html = evaluation_page(
        report(
            ranking=Ranking(
                scores=np.array([0.9, 0.5]),
                matched=np.tile([True, False], (10, 1)),
                n_truth=2,
            ),
            reliability=Reliability(n_px=np.arange(256), true_px=np.arange(256) // 2),
            confusion=np.arange(16).reshape(4, 4),
        )
    )
    page = parsed(html)
    assert "script" not in page.tags
    assert all(source.startswith("data:") for source in page.loaded)
    assert NASTY in page.text
    for words in ("F1 0.667 at score ≥ 0.90", "median 0.500", "missed2 (29%)"):
        assert words.replace(" ", "") in page.text.replace(" ", "")


def test_what_is_not_known_is_not_shown():
    page = parsed(evaluation_page(report()))
    assert "Precision over recall" not in page.text
    assert "Types:" not in page.text
    assert "–" in page.text


@pytest.mark.parametrize(("n_truth", "shown"), [(0, "AP –"), (1, "AP 0.000")])
def test_precision_without_true_nuclei_is_a_dash_as_in_tables(n_truth, shown):
    matched = np.zeros((10, 1), np.bool_)
    ranking = Ranking(scores=np.array([0.9]), matched=matched, n_truth=n_truth)
    assert precision_recall(ranking).count(shown) == 3


def test_the_confusion_shows_shares_of_the_truth():
    confused = np.array([[0, 0, 0, 0], [0, 3, 0, 1], [0, 1, 1, 0], [0, 2, 0, 0]])
    text = parsed(confusion_table(confused, ("round", "long"))).text
    assert "unknown" not in text
    assert "round3 75%0 0%1 25%4" in text
    assert "invented2 100%0 0%2" in text


def test_a_chart_of_two_values_shows_both():
    assert histogram([1.0, 2.0]).count(": 1</title>") == 2
    assert ordered({"a": 0.2, "b": 0.1}, name="PQ").index("b: 0.100") > 0
    assert "No values" in ordered({"a": float("nan")}, name="PQ")
