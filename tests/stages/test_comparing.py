"""Two runs are compared as their label maps and tables say, whatever their tiles."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from result_folders import parted, write_run

from segpipe import read_nuclei
from segpipe.errors import OutputNotOurs, SlideNotFound, StoreDamaged
from segpipe.stages.catalog import write_catalog
from segpipe.stages.comparing import compare, facts_of
from segpipe.stages.finished_runs import in_common, open_run
from segpipe.stages.pairing import pair, pairing_of
from segpipe.stages.showing_differences import write_page
from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.tables.following import RowsInOrder
from segpipe.tables.pairs import STATUSES, pair_rows
from segpipe.tables.slides import SlideRow, write_slides

KINDS = ("round", "spindle")
SCORES = ("f1", "sq", "pq", "dice", "kappa")


def noisy(rng, shape=(150, 130)):
    """Return a label map of blobs of two classes, some touching."""
    coarse = rng.choice([0, 0, 0, 1, 2], size=(shape[0] // 5, shape[1] // 5))
    blobs = np.kron(coarse, np.ones((5, 5), int))
    blobs = np.pad(blobs, [(0, s - b) for s, b in zip(shape, blobs.shape, strict=True)])
    return parted(blobs)


def disturbed(rng, labels):
    """Return a label map like another: some nuclei gone, grown, cut or new."""
    lost = rng.random(labels.max() + 1) < 0.2
    kept = np.where(lost[labels] | (rng.random(labels.shape) < 0.02), 0, labels)
    fresh = np.where(noisy(rng, labels.shape) % 3 == 1, labels.max() + 1, 0)
    return parted(np.where(kept == 0, fresh, kept))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs of one slide, and their label maps."""
    rng = np.random.default_rng(7)
    root = tmp_path_factory.mktemp("compared")
    a = noisy(rng)
    b = disturbed(rng, a)
    for name, labels in (("a", a), ("b", b)):
        types = rng.choice(KINDS, int(labels.max())).tolist()
        write_run(root / name, labels, types=types, mpp=2.0)
    return root / "a", root / "b"


def rows_of(a, b, box_px):
    """Return the rows of all nuclei of the one slide of two folders."""
    runs = open_run(a, "A"), open_run(b, "B")
    pairing = pairing_of(*runs, *in_common(*runs).slide_ids)
    rows = [
        pair_rows("s", band.met, pairing.um_per_l0_px)
        for band in pair(pairing, box_px=box_px)
    ]
    order = ["status", "id_a", "id_b"]
    return pd.concat(rows).sort_values(order, ignore_index=True)


def renamed(rows):
    """Return rows as they were if A were B."""
    swaps = {f"{name}_{x}{unit}": f"{name}_{y}{unit}"
             for name, unit in (("id", ""), ("area", "_um2"), ("type", ""))
             for x, y in ("ab", "ba")}  # fmt: skip
    statuses = {"only A": "only B", "only B": "only A"}
    swapped = rows.rename(columns=swaps)[rows.columns]
    swapped["status"] = swapped["status"].replace(statuses)
    return swapped.sort_values(["status", "id_a", "id_b"], ignore_index=True)


def test_a_run_agrees_with_itself_wholly(folders, tmp_path):
    found = compare(folders[0], folders[0], tmp_path)
    facts = facts_of(found.cohort)
    assert [facts[name] for name in SCORES] == [1.0] * 5
    assert facts["area_difference_um2"] == 0
    assert facts["n_only_a"] == facts["n_only_b"] == facts["n_other_type"] == 0
    nuclei = pd.read_parquet(tmp_path / "nuclei.parquet")
    assert (nuclei["id_a"] == nuclei["id_b"]).all()
    assert (nuclei["distance_um"] == 0).all()
    assert set(nuclei["status"]) == {"matched"}


def test_two_tilings_agree_wholly(undisturbed, crop, settings, tmp_path):
    other = settings.model_copy(update={"tile_px": 640})
    segment_slide(crop, tmp_path / "b", other)
    facts = facts_of(compare(undisturbed, tmp_path / "b").cohort)
    assert facts["n_a"] > 100
    assert [facts[name] for name in SCORES] == [1.0] * 5
    assert facts["area_difference_um2"] == 0


@pytest.mark.parametrize("by", ["outlines", "centres"])
def test_no_box_size_changes_a_row(folders, tmp_path, by):
    a, b = folders
    if by == "centres":
        a = shutil.copytree(a, tmp_path / "a")
        shutil.rmtree(a / "stores")
    whole = rows_of(a, b, 1024)
    assert set(whole["status"]) == set(STATUSES)
    assert whole["iou"].isna().all() == (by == "centres")
    for box_px in (17, 64):
        pd.testing.assert_frame_equal(rows_of(a, b, box_px), whole)


@pytest.mark.parametrize("by", ["outlines", "centres"])
def test_swapping_swaps_columns_and_changes_nothing_else(folders, tmp_path, by):
    a, b = folders
    if by == "centres":
        a = shutil.copytree(a, tmp_path / "a")
        shutil.rmtree(a / "stores")
    forth, back = rows_of(a, b, 64), rows_of(b, a, 64)
    pd.testing.assert_frame_equal(renamed(back), forth)
    facts, swapped = (facts_of(compare(*pair_).cohort) for pair_ in ((a, b), (b, a)))
    assert [facts[name] for name in SCORES] == [swapped[name] for name in SCORES]
    assert facts["n_only_a"] == swapped["n_only_b"]
    assert facts["area_difference_um2"] == -swapped["area_difference_um2"]
    assert np.array_equal(facts["confusion"], np.transpose(swapped["confusion"]))


def test_a_coarser_map_is_read_at_the_nearest_pixel(rng, tmp_path):
    coarse = noisy(rng, (60, 70))
    fine = np.kron(coarse, np.ones((2, 2), np.uint32))
    a = write_run(tmp_path / "a", fine, downsample=1.0)
    b = write_run(tmp_path / "b", coarse, downsample=2.0)
    facts = facts_of(compare(a, b).cohort)
    assert [facts[name] for name in SCORES[:4]] == [1.0] * 4
    assert facts["area_difference_um2"] == 0


@pytest.mark.parametrize("scale", [1.4, 2.8, 3.999])
def test_any_two_resolutions_are_compared_in_the_finer_one(rng, tmp_path, scale):
    fine = noisy(rng, (90, 80))
    side = [int(np.ceil(length / scale)) for length in fine.shape]
    coarse = noisy(rng, side)
    at = [
        np.floor((np.arange(length) + 0.5) / scale).astype(int) for length in (97, 91)
    ]
    padded = np.pad(coarse, 40)[np.ix_(at[0] + 40, at[1] + 40)]
    a = write_run(tmp_path / "a", fine)
    b = write_run(tmp_path / "b", coarse, downsample=scale, slide_shape=(90, 80))
    rows = rows_of(a, b, 16)
    assert rows["id_b"].nunique() == coarse.max() == padded.max()
    for row in rows[rows["id_a"].notna() & rows["id_b"].notna()].itertuples():
        in_a = np.pad(fine, ((0, 7), (0, 11))) == row.id_a
        in_b = padded == row.id_b
        assert row.iou == (in_a & in_b).sum() / (in_a | in_b).sum()
        assert row.iou > 0.5


def test_what_differs_is_drawn_once_for_qupath(folders, tmp_path):
    found = compare(*folders, tmp_path)
    counts = found.cohort
    path = tmp_path / "differences" / "s.geojson"
    features = json.loads(path.read_text())["features"]
    n_alone = counts.n_a + counts.n_b - 2 * counts.n_matched
    assert len(features) == n_alone + counts.n_other_type
    names = {f["properties"]["classification"]["name"] for f in features}
    assert names == {
        "only A", "only B", "round in A, spindle in B", "spindle in A, round in B"
    }  # fmt: skip
    outlines = read_nuclei(folders[0], "s", geometry=True).set_index("nucleus_id")
    for feature in features:
        run, nucleus_id = feature["properties"]["name"].split(",")[0].split()
        if run == "A":
            drawn = shapely.from_geojson(json.dumps(feature["geometry"]))
            assert drawn.equals(outlines["geometry"][int(nucleus_id)])


def test_tables_hold_every_nucleus_of_both_runs_once(folders, tmp_path):
    compare(*folders, tmp_path)
    (slide,) = pd.read_parquet(tmp_path / "compare.parquet").to_dict("records")
    nuclei = pd.read_parquet(tmp_path / "nuclei.parquet")
    for run, folder in zip("ab", folders, strict=True):
        table = read_nuclei(folder, "s")
        known = nuclei[nuclei[f"id_{run}"].notna()].sort_values(f"id_{run}")
        assert known[f"id_{run}"].tolist() == table["nucleus_id"].tolist()
        assert known[f"area_{run}_um2"].tolist() == table["area_um2"].tolist()
        assert known[f"type_{run}"].tolist() == table["type_name"].tolist()
        assert len(known) == slide[f"n_{run}"]
    assert slide["n_matched"] == nuclei["status"].isin(["matched", "other type"]).sum()


def test_the_page_shows_places_on_the_slide_if_it_is_there(
    undisturbed, folders, tmp_path
):
    other = shutil.copytree(undisturbed, tmp_path / "b")
    shutil.rmtree(other / "stores")
    table = Layout(other).table("crop")
    pq.write_table(pq.read_table(table, partitioning=None).slice(5), table)
    found = compare(undisturbed, other, tmp_path / "there")
    assert facts_of(found.cohort)["n_only_a"] == 5
    write_page(found, tmp_path / "there")
    write_page(compare(*folders, tmp_path / "gone"), tmp_path / "gone")
    there, gone = (
        (tmp_path / name / "compare.html").read_text() for name in ("there", "gone")
    )
    assert 'src="data:image/jpeg' in there
    assert "matched by centres" in there
    assert "the slide isn" not in there
    assert "the slide isn" in gone


def test_a_map_that_lost_a_chunk_is_no_agreement(folders, tmp_path):
    a = shutil.copytree(folders[0], tmp_path / "a")
    (a / "stores/s.zarr/labels/nuclei/0/c/1/1").unlink()
    with pytest.raises(StoreDamaged, match=r"slide s in A .* Chunks of"):
        compare(a, folders[1])
    shutil.copytree(folders[0], tmp_path / "b")
    for folder in (a, tmp_path / "b"):
        write_run(folder, np.ones((6, 6), np.uint32), slide_id="t")
    compare(folders[0], tmp_path / "b", tmp_path / "out")
    assert (tmp_path / "out/differences/s.geojson").exists()
    found = compare(a, tmp_path / "b", tmp_path / "out")
    assert [slide.slide_id for slide in found.slides] == ["t"]
    assert [one.slide_id for one in found.skipped] == ["s"]
    assert set(pd.read_parquet(tmp_path / "out/nuclei.parquet")["slide_id"]) == {"t"}
    assert not (tmp_path / "out/differences/s.geojson").exists()


def test_folders_that_cannot_be_compared_are_refused_with_the_reason(folders, tmp_path):
    a, _ = folders
    with pytest.raises(OutputNotOurs, match=r"B, .*missing, is no folder"):
        compare(a, tmp_path / "missing")
    (tmp_path / "photos").mkdir()
    with pytest.raises(OutputNotOurs, match=r"photos, is no result folder"):
        compare(tmp_path / "photos", a)
    with pytest.raises(OutputNotOurs, match=r"is the result folder of a run"):
        compare(a, a, a)
    b = write_run(tmp_path / "b", np.ones((4, 4), np.uint32), slide_id="other")
    with pytest.raises(SlideNotFound, match=r"holds 1: s\. B \(.*\) holds 1: other\."):
        compare(a, b)


def test_slides_that_are_not_of_one_content_are_not_compared(folders, tmp_path):
    a, _ = folders
    b = shutil.copytree(a, tmp_path / "b")
    ledger = Ledger(Layout(b), "s")
    text = ledger.row_path.read_text().replace("f" * 64, "e" * 64)
    ledger.row_path.write_text(text)
    with pytest.raises(SlideNotFound, match=r"two slides of one name: .*ffffffffff….*"):
        compare(a, b)
    write_run(b, np.ones((4, 4), np.uint32), slide_id="only-in-b")
    write_run(b, np.ones((4, 4), np.uint32), slide_id="undone")
    both = shutil.copytree(b, tmp_path / "c")
    (Ledger(Layout(both), "undone").folder / "plan.json").write_text("{}")
    Ledger(Layout(both), "undone").row_path.unlink()
    found = compare(b, both).common
    assert found.slide_ids == ("only-in-b", "s")
    assert [(one.slide_id, one.reason) for one in found.skipped] == [
        ("undone", "unfinished (in B)")
    ]
    assert compare(both, b).common.only_b == ()


def test_slides_without_nuclei_agree_on_nothing(tmp_path):
    none = np.zeros((20, 30), np.uint32)
    a, b = (write_run(tmp_path / name, none, types=[]) for name in "ab")
    found = compare(a, b, tmp_path / "out")
    write_page(found, tmp_path / "out")
    assert {facts_of(found.cohort)[name] for name in SCORES} == {None}
    one = write_run(tmp_path / "c", np.ones((20, 30), np.uint32), types=["round"])
    facts = facts_of(compare(a, one).cohort)
    assert (facts["n_only_b"], facts["f1"], facts["pq"], facts["dice"]) == (1, 0, 0, 0)
    assert facts["sq"] is None


def test_a_folder_whose_ledger_was_deleted_is_still_compared(undisturbed, tmp_path):
    bare = shutil.copytree(undisturbed, tmp_path / "bare")
    write_catalog(Layout(bare))
    shutil.rmtree(bare / "ledger")
    assert facts_of(compare(bare, undisturbed).cohort)["pq"] == 1.0


def test_an_id_that_leads_out_of_the_folders_is_not_followed(folders, tmp_path):
    outside = SlideRow(slide_id="../a/nuclei", path="x", status="done")
    a, b = (shutil.copytree(folders[0], tmp_path / name) for name in "ab")
    for folder in (a, b):
        write_slides([outside], Layout(folder).slides)
    found = compare(a, b, tmp_path / "out")
    assert found.common.slide_ids == ("s",)
    assert "may lead out of the folder" in found.skipped[0].reason
    (tmp_path / "precious.geojson").touch()
    record = pd.DataFrame({"slide_id": ["../../precious"]})
    record.to_parquet(tmp_path / "out" / "compare.parquet")
    compare(a, b, tmp_path / "out")
    assert (tmp_path / "precious.geojson").exists()


def test_rows_are_held_no_longer_than_they_are_wanted():
    parts = (
        pd.DataFrame({"nucleus_id": np.arange(i, i + 10)}) for i in range(1, 1001, 10)
    )
    rows = RowsInOrder(parts, columns=["nucleus_id"], name="s")
    for first in range(1, 1001, 5):
        ids = np.arange(first, first + 5, dtype=np.uint32)
        assert rows.take(ids)["nucleus_id"].tolist() == ids.tolist()
        rows.forget(None)
        assert len(rows._rows) <= 10
    rows.finish()
    with pytest.raises(StoreDamaged, match="in two pieces"):
        rows.take(np.array([7], np.uint32))
