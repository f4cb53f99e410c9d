"""What a program that opens results would run, were it not made inert."""

import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from segpipe.exports import csv as csv_export
from segpipe.exports import geojson
from segpipe.tables.schema import COLUMNS

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]
SCRIPT = '</script><script>alert("x")</script>'


def table(type_names):
    """Return a table of nuclei whose types are called so."""
    n = len(type_names)
    columns = {
        column.name: np.full(n, -1.5 if column.dtype == "float32" else 1)
        for column in COLUMNS
    }
    return pd.DataFrame(columns | {"slide_id": "a", "type_name": list(type_names)})


@pytest.fixture
def exported(tmp_path, monkeypatch):
    def export(module, nuclei):
        monkeypatch.setattr(module, "iter_nuclei", lambda *_: iter([nuclei]))
        module.write(tmp_path, "a", tmp_path / "file")
        return (tmp_path / "file").read_bytes().decode()

    return export


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_text_of_a_csv_is_a_formula(formula, exported):
    text = io.StringIO(exported(csv_export, table([formula])), newline="")
    (row,) = csv.DictReader(text)
    assert row["type_name"] == "'" + re.sub(r"\s", " ", formula)


def test_numbers_of_a_csv_stay_numbers(exported):
    (row,) = csv.DictReader(exported(csv_export, table(["round"])).splitlines())
    assert row["type_name"] == "round"
    assert float(row["area_um2"]) == -1.5


def test_a_name_stays_a_name_in_geojson(exported):
    nuclei = table([SCRIPT]).assign(geometry=[bytes.fromhex("0101000000" + "00" * 16)])
    (feature,) = json.loads(exported(geojson, nuclei))["features"]
    assert feature["properties"]["classification"]["name"] == SCRIPT
