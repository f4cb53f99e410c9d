"""A nuclei file is the same bytes however it is fed, and there whole or not at all."""

import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from nuclei_tables import METADATA, columns, rows_of

from segpipe.errors import ShapeMismatch, StageFailed, StoreDamaged
from segpipe.tables import parquet
from segpipe.tables.parquet import TableWriter, read_part, write_part
from segpipe.tables.rows import in_order, to_rows
from segpipe.tables.schema import COLUMNS, Packed

N = 60


@pytest.fixture(scope="module")
def measured():
    return columns(N)


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 16)


def written(path, chunks):
    with TableWriter(path, metadata=METADATA) as writer:
        for chunk in chunks:
            writer.append(chunk)
    return path


@pytest.mark.usefixtures("small_groups")
def test_bytes_and_row_groups_do_not_depend_on_how_rows_come(measured, tmp_path):
    whole = written(tmp_path / "whole.parquet", [measured])
    groups = [
        pq.ParquetFile(whole).metadata.row_group(group).num_rows
        for group in range(pq.ParquetFile(whole).num_row_groups)
    ]
    assert groups == [16, 16, 16, 12]

    @settings(max_examples=30)
    @given(st.lists(st.integers(0, N), max_size=12).map(sorted))
    def law(cuts):
        cuts = [0, *cuts, N]
        chunks = [rows_of(measured, a, b) for a, b in pairwise(cuts)]
        again = written(tmp_path / "again.parquet", chunks)
        assert again.read_bytes() == whole.read_bytes()

    law()


def test_parts_in_any_split_and_order_give_the_same_file(measured, tmp_path):
    whole = written(tmp_path / "whole.parquet", [measured])
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 4, N)
    parts = []
    for tile in rng.permutation(4):
        path = tmp_path / f"{tile}.part"
        (chosen,) = np.nonzero(owner == tile)
        pieces = [to_rows(rows_of(measured, i, i + 1)) for i in chosen]
        write_part(path, as_columns(in_order(pieces)))
        parts.append(read_part(path, range(len(chosen))))
    again = written(tmp_path / "again.parquet", [in_order(parts)])
    assert again.read_bytes() == whole.read_bytes()


def as_columns(rows):
    """Turn rows back into columns as measured."""
    wkb = rows["geometry"].to_pylist()
    packed = Packed(
        buffer=np.frombuffer(b"".join(wkb), np.uint8),
        offsets=np.cumsum([0, *map(len, wkb)]),
    )
    plain = {
        name: np.array(rows[name].to_pylist())
        for name in rows.column_names
        if name != "geometry"
    }
    return {**plain, "geometry": packed}


@pytest.mark.parametrize("n", [0, 1, N])
def test_a_file_holds_the_schema_and_what_was_measured(n, tmp_path):
    measured = columns(n)
    table = pq.ParquetFile(written(tmp_path / "t.parquet", [measured])).read()
    assert table.column_names == [column.name for column in COLUMNS]
    for column in COLUMNS:
        field = table.schema.field(column.name)
        assert field.metadata[b"unit"].decode() == column.unit
        stored = table[column.name].to_pylist()
        if column.dtype == "wkb":
            assert stored == [measured[column.name][row] for row in range(n)]
        elif column.dtype == "string":
            assert stored == measured[column.name].tolist()
        else:
            expected = measured[column.name].astype(column.dtype)
            np.testing.assert_array_equal(np.array(stored, column.dtype), expected)


def test_metadata_says_how_the_table_was_made(measured, tmp_path):
    stored = pq.read_metadata(written(tmp_path / "t.parquet", [measured])).metadata
    assert stored[b"segpipe.schema_version"] == b"1"
    for key, value in METADATA.items():
        assert stored[f"segpipe.{key}".encode()] == value.encode()


def test_geo_metadata_bounds_the_outlines(measured, tmp_path):
    path = written(tmp_path / "t.parquet", [rows_of(measured, 0, 7)])
    geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    about = geo["columns"][geo["primary_column"]]
    wkb = pq.read_table(path, columns=["geometry"], partitioning=None)["geometry"]
    polygons = shapely.from_wkb(wkb.to_pylist())
    assert tuple(about["bbox"]) == tuple(shapely.total_bounds(polygons))
    assert about["geometry_types"] == ["Polygon"]
    assert about["crs"] is None
    assert about["edges"] == "planar"


def failing(measured):
    yield rows_of(measured, 0, 3)
    message = "power cut"
    raise RuntimeError(message)


def test_an_error_leaves_the_old_file_and_nothing_else(measured, tmp_path):
    path = written(tmp_path / "part-0.parquet", [measured])
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="power cut"):
        written(path, failing(measured))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_nucleus_that_comes_twice_is_refused(measured, tmp_path):
    path = tmp_path / "t.parquet"
    twice = [rows_of(measured, 0, 5), rows_of(measured, 4, 9)]
    with pytest.raises(StageFailed, match="after 5 came"):
        written(path, twice)
    assert not path.exists()


def test_columns_that_are_missing_or_of_other_length_are_refused(measured):
    fewer = {name: column for name, column in measured.items() if name != "prob"}
    with pytest.raises(ShapeMismatch, match=r"\['prob'\] are missing"):
        to_rows(fewer)
    with pytest.raises(ShapeMismatch, match="equally long"):
        to_rows({**measured, "prob": measured["prob"][1:]})


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "foreign"])
def test_a_damaged_part_is_refused_by_its_path(damage, measured, tmp_path):
    path = tmp_path / "0001.part"
    if damage == "foreign":
        pq.write_table(to_rows(measured), path)
    elif damage != "absent":
        write_part(path, measured)
        whole = path.read_bytes()
        path.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    with pytest.raises(StoreDamaged, match=r"0001\.part"):
        read_part(path, range(N))


def test_any_rows_of_a_part_are_read(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "PART_BATCH_ROWS", 7)
    path = tmp_path / "0001.part"
    write_part(path, measured)
    rows = to_rows(measured)
    for start, stop in ((0, N), (0, 1), (6, 8), (7, 14), (13, 30), (N - 1, N)):
        found = read_part(path, range(start, stop))
        assert found.equals(rows.slice(start, stop - start))
    with pytest.raises(StoreDamaged, match=f"has {N} rows; row {N + 3} was asked"):
        read_part(path, range(4, N + 3))
