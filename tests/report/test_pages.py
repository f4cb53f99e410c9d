"""Pages are whole, load nothing, and say names as they are, whatever is in them."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from segpipe.geometry import Box
from segpipe.report.charts import Bar, bars, histogram, ratios, stack
from segpipe.report.cohort_page import cohort_page
from segpipe.report.slide_page import SlideReport, slide_page
from segpipe.tables.frame import Frame
from segpipe.tables.seams import SeamCheck
from segpipe.tables.slides import SlideRow

VOID = {"meta", "img", "line", "circle", "br"}
NASTY = "<script>alert('x & \"y\"')</script>"


class Balance(HTMLParser):
    """Collects text and links, and insists that every tag is closed in turn."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.loaded, self.tags = [], "", [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loaded += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(html):
    page = Balance()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


ROW = SlideRow(
    slide_id="a-1",
    path=NASTY,
    status="done",
    n_nuclei=400,
    tissue_mm2=0.5,
    mpp=0.25,
    canvas_mpp=0.5,
    slide_shape=(2000, 3000),
    seconds={"tile": 1.0, "predict": 30.0},
    settings={"tile_px": 1024},
    versions={"segpipe": NASTY},
    seam=SeamCheck(
        n_near=100,
        n_interior=300,
        density_ratio=1.01,
        area_ratio=0.98,
        straight_share_near=0.03,
        straight_share_interior=0.04,
    ),
)
FRAME = Frame(
    box=Box(0, 0, 1000, 1500),
    mpp=0.5,
    downsample=2.0,
    canvas_shape=(1000, 1500),
    window_px=256,
    type_names=("round", NASTY),
)


def report(n, **changes):
    rng = np.random.default_rng(0)
    nuclei = pd.DataFrame(
        {
            "area_um2": rng.gamma(5, 8, n),
            "circularity": rng.uniform(0.5, 1, n),
            "hematoxylin_od_mean": rng.normal(0.8, 0.1, n),
            "type_id": rng.integers(0, 3, n).astype(np.uint8),
            "seam_distance_um": rng.uniform(0, 64, n),
        }
    )
    frame = replace(FRAME, **changes.pop("frame", {}))
    row = replace(ROW, n_nuclei=n, **changes)
    overview = np.full((40, 60, 3), 128, np.uint8)
    return SlideReport(row=row, nuclei=nuclei, frame=frame, overview=overview)


@pytest.mark.parametrize("n", [0, 1, 400])
def test_the_page_of_a_slide_is_whole_and_loads_nothing(n):
    page = parsed(slide_page(report(n)))
    assert all(source.startswith("data:") for source in page.loaded)
    assert "script" not in page.tags
    assert "nan" not in page.text.lower()


def test_the_page_of_a_slide_says_its_numbers_and_names():
    text = parsed(slide_page(report(400))).text
    for said in ("a-1", "400", "800", "predict 30.0 s", "tile_px", "untyped", "1.01"):
        assert said in text
    assert text.count(NASTY) == 3


def test_a_page_of_a_sample_says_so_and_counts_types_for_the_whole():
    whole = report(400)
    counts = whole.nuclei["type_id"].value_counts()
    text = parsed(slide_page(replace(whole, every=7))).text
    assert "one nucleus in 7" in text
    assert all(f"{n * 7:,} (" in text for n in counts)
    assert "one nucleus in" not in parsed(slide_page(whole)).text


def test_what_a_detector_dropped_is_shown_and_of_others_nothing():
    assert "Too large, dropped" not in parsed(slide_page(report(9))).text
    dropped = parsed(slide_page(report(9, n_too_large=1234))).text
    assert "Too large, dropped" in dropped
    assert "1,234" in dropped


def test_types_and_seams_are_shown_only_where_there_are_any():
    text = parsed(slide_page(report(9, seam=None, frame={"type_names": ()}))).text
    assert "Types" not in text
    assert "seam" not in text


def test_the_page_of_a_cohort_lists_every_slide_and_links_those_done():
    rows = [
        SlideRow(slide_id="b", path="b", status="quarantined", reason=NASTY),
        ROW,
        replace(ROW, slide_id="c.2"),
    ]
    page = parsed(cohort_page(rows))
    assert page.loaded == ["reports/a-1.html", "reports/c.2.html"]
    assert NASTY in page.text
    assert "3 slides" in page.text
    assert "800" in page.text


@pytest.mark.parametrize("n", [0, 1, 60])
def test_a_cohort_of_any_size_has_a_page(n):
    parsed(cohort_page([replace(ROW, slide_id=f"s{i}") for i in range(n)]))


def test_a_histogram_counts_the_numbers_within_its_ends():
    values = np.concatenate([np.linspace(0, 10, 5000), [np.nan, 1e9]])
    counts = re.findall(r"<title>[^:]*: ([\d,]+)</title>", histogram(values, unit="mm"))
    total = sum(int(count.replace(",", "")) for count in counts)
    assert total == pytest.approx(5000, rel=0.01)


@pytest.mark.parametrize(
    "chart",
    [
        histogram([]),
        histogram([np.nan]),
        histogram([3.0, 3.0]),
        ratios(np.zeros(3), np.zeros(3), end="x"),
        ratios(np.array([4.0, 0.0]), np.array([2.0, 3.0]), end="x"),
        bars([]),
        bars([Bar(label="a", value=0, text="0")]),
        stack([]),
    ],
)
def test_charts_of_little_are_still_whole(chart):
    parsed(chart)
    assert "nan" not in chart.lower()
