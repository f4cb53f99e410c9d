"""Nuclei open in pandas, DuckDB and GeoPandas, slide by slide or all at once."""

import pandas as pd
import pytest
import shapely
from nuclei_tables import METADATA, write_run

import segpipe
from segpipe.errors import SettingsError, SlideNotFound, StoreDamaged
from segpipe.tables.reading import iter_nuclei, read_metadata, slide_ids
from segpipe.tables.schema import COLUMNS


@pytest.fixture(scope="module")
def out_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    write_run(path, a=9, b=0, c=4)
    return path


def test_a_run_reads_as_one_frame_of_all_slides(out_dir):
    nuclei = segpipe.read_nuclei(out_dir)
    assert list(nuclei.columns) == [column.name for column in COLUMNS]
    assert nuclei["slide_id"].astype(str).tolist() == ["a"] * 9 + ["c"] * 4
    assert nuclei["nucleus_id"].tolist() == [*range(1, 10), *range(1, 5)]
    assert nuclei["type_name"].astype(str).isin(["round", "long"]).all()


def test_one_slide_or_some_of_them_can_be_read(out_dir):
    assert len(segpipe.read_nuclei(out_dir, "c")) == 4
    assert len(segpipe.read_nuclei(out_dir, ["c", "a"])) == 13
    empty = segpipe.read_nuclei(out_dir, "b")
    assert empty.empty
    assert list(empty.columns) == [column.name for column in COLUMNS]


def test_columns_and_filters_are_applied_on_reading(out_dir):
    everything = segpipe.read_nuclei(out_dir)
    filters = [("area_um2", ">", 10), ("slide_id", "==", "a")]
    some = segpipe.read_nuclei(out_dir, columns=["nucleus_id"], filters=filters)
    wanted = everything.query("area_um2 > 10 and slide_id == 'a'")["nucleus_id"]
    assert some["nucleus_id"].tolist() == wanted.tolist()
    assert list(some.columns) == ["nucleus_id"]
    assert 0 < len(some) < len(everything)


def test_outlines_are_bytes_unless_polygons_are_asked_for(out_dir):
    as_bytes = segpipe.read_nuclei(out_dir, "a")["geometry"]
    polygons = segpipe.read_nuclei(out_dir, "a", geometry=True)
    assert isinstance(as_bytes[0], bytes)
    areas = shapely.area(polygons["geometry"].to_numpy())
    assert areas * 0.25**2 == pytest.approx(polygons["area_um2"])


def test_row_groups_come_one_at_a_time_and_add_up(out_dir):
    assert pd.concat(iter_nuclei(out_dir, "a")).equals(
        segpipe.read_nuclei(out_dir, "a")
    )
    assert list(iter_nuclei(out_dir, "b")) == []


def test_the_making_of_a_table_can_be_read_back(out_dir):
    assert read_metadata(out_dir, "b") == {**METADATA, "schema_version": "1"}


def test_a_missing_slide_is_refused_with_the_ids_there_are(out_dir):
    assert slide_ids(out_dir) == ["a", "b", "c"]
    with pytest.raises(SlideNotFound, match=r"'d' .* 3 slides: a, b, c"):
        segpipe.read_nuclei(out_dir, "d")


def test_a_folder_without_nuclei_is_refused(tmp_path):
    with pytest.raises(SlideNotFound, match=r"Give the folder that was --out"):
        segpipe.read_nuclei(tmp_path)


def test_an_unknown_column_is_refused_with_the_nearest(out_dir):
    with pytest.raises(SettingsError, match="Did you mean area_um2"):
        segpipe.read_nuclei(out_dir, columns=["area_um"])


def test_a_damaged_table_is_refused(tmp_path):
    write_run(tmp_path, a=3)
    (path,) = tmp_path.glob("nuclei/*/*.parquet")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreDamaged, match="only that slide"):
        segpipe.read_nuclei(tmp_path)
    with pytest.raises(StoreDamaged, match="only that slide"):
        list(iter_nuclei(tmp_path, "a"))


def test_pandas_reads_the_folder_of_all_slides(out_dir):
    nuclei = pd.read_parquet(out_dir / "nuclei")
    assert nuclei["slide_id"].astype(str).tolist() == ["a"] * 9 + ["c"] * 4


def test_slides_that_are_named_by_numbers_keep_their_zeros(tmp_path):
    """Where paths are taken for partitions, Arrow takes such names for integers."""
    write_run(tmp_path, **{"0012": 2, "13": 1})
    expected = ["0012", "0012", "13"]
    assert segpipe.read_nuclei(tmp_path)["slide_id"].tolist() == expected
    nuclei = pd.read_parquet(tmp_path / "nuclei", partitioning=None)
    assert nuclei["slide_id"].tolist() == expected
    assert len(segpipe.read_nuclei(tmp_path, "0012")) == 2


def test_duckdb_reads_the_folder_of_all_slides(out_dir):
    duckdb = pytest.importorskip("duckdb")
    table = duckdb.read_parquet(f"{out_dir}/nuclei/*/*.parquet")
    found = table.aggregate("slide_id, count(*), sum(area_um2)").order("slide_id")
    slides, counts, areas = zip(*found.fetchall(), strict=True)
    expected = segpipe.read_nuclei(out_dir).groupby("slide_id", observed=True)
    assert slides == ("a", "c")
    assert counts == (9, 4)
    assert areas == pytest.approx(expected["area_um2"].sum(), 1e-4)


@pytest.mark.parametrize("slide_id", ["a", "b"])
def test_geopandas_reads_the_outlines_of_a_slide(slide_id, out_dir):
    geopandas = pytest.importorskip("geopandas")
    path = out_dir / "nuclei" / f"slide_id={slide_id}" / "part-0.parquet"
    nuclei = geopandas.read_parquet(path)
    assert nuclei.crs is None
    assert nuclei.geometry.is_valid.all()
    assert (nuclei.area * 0.25**2).to_numpy() == pytest.approx(nuclei["area_um2"])
