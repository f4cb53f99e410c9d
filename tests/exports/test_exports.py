"""Each export writes a run's nuclei whole, in bytes that depend on nothing else."""

import csv
import gzip
import io
import json

import numpy as np
import pytest
import shapely

import segpipe
from segpipe.errors import SettingsError, SlideNotFound
from segpipe.exports import export_named, exports
from segpipe.geometry import Box
from segpipe.tables import parquet
from segpipe.tables.frame import Frame
from segpipe.tables.measuring import measure
from segpipe.tables.palette import colour_of

N = 30


def write_table(out_dir, slide_id, n, type_names):
    """Write a table of ``n`` nuclei with a hole each, in a row."""
    width = 6 * max(n, 1)
    y, x = np.mgrid[:6, :width]
    ring = np.maximum(abs(y - 2), abs(x % 6 - 2)) % 3 > 0
    labels = np.where(ring & (x // 6 < n), x // 6 + 1, 0).astype(np.int32)
    frame = Frame(
        box=Box(0, 0, 6, width),
        mpp=0.5,
        downsample=2.0,
        canvas_shape=(6, width),
        window_px=16,
        slide_id=slide_id,
        type_names=type_names,
    )
    kinds = np.arange(len(type_names))[:, None, None]
    types = np.where((x // 6) % max(len(type_names), 1) == kinds, 200, 0)
    maps = {"prob": np.full((6, width), 200, np.uint8), "type": types.astype(np.uint8)}
    planes = np.full((3, 6, width), 100, np.uint8)
    ids = np.arange(1, n + 1)
    path = out_dir / "nuclei" / f"slide_id={slide_id}" / "part-0.parquet"
    with parquet.TableWriter(path, metadata={}) as writer:
        writer.append(measure(labels, ids, planes=planes, maps=maps, frame=frame))


@pytest.fixture(scope="module")
def out_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROW_GROUP_ROWS", 8)
        write_table(path, "typed", N, ('neo"plastic', "ébauche"))
        write_table(path, "untyped", N, ())
        write_table(path, "empty", 0, ())
    return path


@pytest.fixture(params=[export.name for export in exports()])
def export(request):
    return export_named(request.param)


def test_every_format_has_an_ending_and_says_what_opens_it(export):
    assert export.extensions
    assert all(ending.startswith(".") for ending in export.extensions)
    assert export.description


def test_exports_are_the_same_bytes_each_time(export, out_dir, tmp_path):
    for ending in export.extensions:
        first, second = tmp_path / f"1{ending}", tmp_path / f"2{ending}"
        for path in (first, second):
            export.write(out_dir, "typed", path)
        assert first.read_bytes() == second.read_bytes()


def test_a_slide_that_the_run_does_not_have_is_refused(export, out_dir, tmp_path):
    with pytest.raises(SlideNotFound, match="'absent'"):
        export.write(out_dir, "absent", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused_with_those_there_are():
    with pytest.raises(SettingsError, match=r"'svg'.* csv, geojson"):
        export_named("svg")


def geojson(out_dir, slide_id, path):
    export_named("geojson").write(out_dir, slide_id, path)
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


@pytest.mark.parametrize("ending", [".geojson", ".geojson.gz"])
def test_geojson_holds_every_outline_with_its_hole(ending, out_dir, tmp_path):
    collection = geojson(out_dir, "typed", tmp_path / f"x{ending}")
    assert collection["type"] == "FeatureCollection"
    nuclei = segpipe.read_nuclei(out_dir, "typed", geometry=True)
    found = [
        shapely.from_geojson(json.dumps(feature["geometry"]))
        for feature in collection["features"]
    ]
    assert len(found) == N
    assert shapely.equals_exact(found, nuclei["geometry"].to_numpy(), 1e-9).all()
    assert all(len(polygon.interiors) == 1 for polygon in found)


def test_geojson_features_are_qupath_detections(out_dir, tmp_path):
    nuclei = segpipe.read_nuclei(out_dir, "typed")
    features = geojson(out_dir, "typed", tmp_path / "x.geojson")["features"]
    for feature, nucleus in zip(features, nuclei.itertuples(), strict=True):
        properties = feature["properties"]
        assert feature["type"] == "Feature"
        assert properties["objectType"] == "detection"
        assert properties["name"] == str(nucleus.nucleus_id)
        assert properties["classification"] == {
            "name": nucleus.type_name,
            "color": list(colour_of(nucleus.type_id)),
        }
        measured = properties["measurements"]
        assert measured["area_um2"] == pytest.approx(nucleus.area_um2, abs=1e-5)
        assert all(isinstance(value, (int, float)) for value in measured.values())


def test_untyped_nuclei_have_no_classification(out_dir, tmp_path):
    features = geojson(out_dir, "untyped", tmp_path / "x.geojson")["features"]
    assert not any("classification" in feature["properties"] for feature in features)


def test_a_slide_without_nuclei_is_an_empty_collection(out_dir, tmp_path):
    assert geojson(out_dir, "empty", tmp_path / "x.geojson")["features"] == []


@pytest.mark.parametrize("slide_id", ["typed", "untyped", "empty"])
def test_csv_has_a_header_and_a_line_per_nucleus(slide_id, out_dir, tmp_path):
    path = tmp_path / "x.csv.gz"
    export_named("csv").write(out_dir, slide_id, path)
    lines = list(
        csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode()))
    )
    nuclei = segpipe.read_nuclei(out_dir, slide_id).drop(columns="geometry")
    assert len(lines) == len(nuclei)
    for line, row in zip(lines, nuclei.to_dict("records"), strict=True):
        assert list(line) == list(row)
        assert line["type_name"] == row["type_name"]
        assert float(line["x_l0_px"]) == row["x_l0_px"]
        assert float(line["area_um2"]) == pytest.approx(row["area_um2"])
