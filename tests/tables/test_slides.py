"""Rows of slides survive Parquet and JSON, and open in pandas."""

from dataclasses import replace

import pandas as pd
import pytest

from segpipe.errors import StoreDamaged
from segpipe.tables.seams import SeamCheck
from segpipe.tables.slides import SlideRow, read_slides, write_slides

DONE = SlideRow(
    slide_id="b",
    path="/slides/b.svs",
    status="done",
    n_nuclei=1500,
    tissue_mm2=0.75,
    mpp=0.2527,
    canvas_mpp=0.5054,
    slide_shape=(4000, 3000),
    n_levels=3,
    network="hoverlite",
    weights_sha256="ab" * 32,
    seconds={"tile": 1.5, "predict": 20.25},
    seam=SeamCheck(
        n_near=100,
        n_interior=1400,
        density_ratio=1.02,
        area_ratio=0.99,
        straight_share_near=0.04,
        straight_share_interior=0.05,
    ),
    settings={"tile_px": 1024, "keep": []},
    versions={"segpipe": "0.1.0"},
    fingerprint="f",
    result_key="k",
)
FAILED = SlideRow(
    slide_id="a", path="a.tif", status="quarantined", reason='It\'s "cut" off.'
)


def test_slides_survive_parquet_in_order_of_their_ids(tmp_path):
    path = tmp_path / "slides.parquet"
    write_slides([DONE, FAILED], path)
    assert read_slides(path) == [FAILED, DONE]
    assert list(tmp_path.iterdir()) == [path]


def test_no_slides_are_a_table_with_all_columns(tmp_path):
    write_slides([], tmp_path / "none.parquet")
    write_slides([DONE], tmp_path / "one.parquet")
    none, one = (pd.read_parquet(tmp_path / f"{n}.parquet") for n in ("none", "one"))
    assert none.columns.tolist() == one.columns.tolist()
    assert read_slides(tmp_path / "none.parquet") == []


def test_pandas_sees_a_column_for_each_number(tmp_path):
    write_slides([DONE, FAILED], tmp_path / "slides.parquet")
    failed, done = pd.read_parquet(tmp_path / "slides.parquet").itertuples()
    assert done.nuclei_per_mm2 == 2000
    assert done.seconds_predict == 20.25
    assert done.seam_n_near == 100
    assert pd.isna(failed.seconds_predict)
    assert pd.isna(failed.mpp)


@pytest.mark.parametrize("row", [DONE, FAILED, replace(DONE, seam=None)])
def test_a_row_survives_json(row):
    assert SlideRow.from_json(row.to_json()) == row


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"seam": null, "slide_shape": 3}'])
def test_a_damaged_row_is_refused(text):
    with pytest.raises(StoreDamaged, match="run again"):
        SlideRow.from_json(text)


def test_a_damaged_table_of_slides_is_refused(tmp_path):
    (tmp_path / "slides.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreDamaged, match=r"slides\.parquet"):
        read_slides(tmp_path / "slides.parquet")


@pytest.mark.parametrize(
    ("slide_mpp", "canvas_mpp", "said"),
    [
        (0.2527, 0.5054, "0.5054 µm per pixel"),
        (0.2527, 0.2527, "0.2527 µm per pixel"),
        (0.499, 0.2495, "0.2495 µm per pixel, enlarged 2 times"),
    ],
)
def test_people_are_told_that_a_slide_was_enlarged(slide_mpp, canvas_mpp, said):
    row = replace(DONE, mpp=slide_mpp, canvas_mpp=canvas_mpp)
    assert row.segmented_at == said
    assert FAILED.segmented_at == "—"
