"""The page of a comparison is whole and loads nothing; each nucleus has its colour."""

import numpy as np
import pandas as pd
import pytest
from test_pages import NASTY, parsed

from segpipe.report.comparison_page import ComparisonReport, comparison_page
from segpipe.report.differences import BOTH, Outline, draw_differences
from segpipe.report.looks import Look
from segpipe.tables.palette import IN_A, IN_B, OTHER_TYPE

SQUARE = np.array([[10.0, 10], [30, 10], [30, 30], [10, 30]])
WHITE = np.full((60, 60, 3), 255, np.uint8)


def row(slide_id, **facts):
    common = {
        "slide_id": slide_id, "matched_by": "outlines", "n_a": 10, "n_b": 12,
        "n_matched": 8, "n_only_a": 2, "n_only_b": 4, "n_other_type": 1, "f1": 0.727,
        "sq": 0.8, "pq": 0.582, "dice": 0.85, "kappa": None,
        "area_difference_um2": -1.25, "types": [NASTY, "b"],
        "confusion": [[4, 1], [0, 3]],
    }  # fmt: skip
    return common | facts


@pytest.fixture
def report():
    return ComparisonReport(
        names=(NASTY, "b"),
        cohort=row("all"),
        slides=[
            row("best", pq=0.9),
            row("worst", pq=0.1),
            row(NASTY, matched_by="centres", sq=None, pq=None, dice=None),
        ],
        skipped={"broken": NASTY},
        only=((), ("new",)),
        pairs=pd.DataFrame(
            {
                "iou": [0.6, np.nan],
                "distance_um": [0.1, 0.2],
                "area_a_um2": np.array([4, 5], np.float32),
                "area_b_um2": np.array([5, 5], np.float32),
            }
        ),
        every=3,
        looks=[Look(source="data:image/jpeg;base64,", caption=NASTY)],
        facts={"network in A": NASTY},
    )


def test_the_page_is_whole_and_says_names_as_they_are(report):
    found = parsed(comparison_page(report))
    assert "script" not in found.tags
    assert all(loaded.startswith("data:") for loaded in found.loaded)
    assert found.text.count(NASTY) >= 6
    assert "Not compared: 1 slide in both" in found.text
    assert "matched by centres within 3 µm" in found.text
    assert "one nucleus in 3" in found.text
    assert "-1.25 µm²" in found.text


def test_the_slides_that_agree_least_come_first(report):
    text = parsed(comparison_page(report)).text
    assert text.index("worst") < text.index("best")


def drawn(*outlines):
    return draw_differences(
        WHITE, [Outline(rings=[r], run=run, status=s) for r, run, s in outlines]
    )


def test_outlines_that_lie_on_each_other_have_one_colour():
    picture = drawn((SQUARE, "A", "matched"), (SQUARE, "B", "matched"))
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert colours == {(255, 255, 255), BOTH}


@pytest.mark.parametrize(
    ("run", "status", "colour"),
    [("A", "only A", IN_A), ("B", "only B", IN_B), ("A", "other type", OTHER_TYPE)],
)
def test_what_differs_is_veiled_and_the_rest_is_left(run, status, colour):
    picture = drawn((SQUARE, run, status))
    veil = 255 * (1 - 0.33) + np.array(colour) * 0.33
    assert np.abs(picture[20, 20] - veil).max() < 1
    assert picture[10, 20].tolist() == list(IN_A if run == "A" else IN_B)
    assert (picture[45:, 45:] == 255).all()
    assert (WHITE == 255).all()
