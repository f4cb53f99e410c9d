"""What the command `compare` says, to people and to programs, and how it ends."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from flows.cli import app
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger

RUNNER = CliRunner()


def compared(*arguments):
    return RUNNER.invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def other(serial, tmp_path):
    """The same run with another slide that it hasn't finished."""
    out = shutil.copytree(serial, tmp_path / "other")
    folder = shutil.copytree(Layout(out).ledger("cut"), Layout(out).ledger("new"))
    (folder / "row.json").unlink()
    return out


def test_a_run_is_compared_with_itself_and_written_down(serial, tmp_path):
    ended = compared(serial, serial, "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    first, second = ended.stdout.splitlines()[:2]
    assert first.split()[:6] == ["slide", "A", "B", "matched", "F1", "SQ"]
    assert second.split()[4:9] == ["1.000"] * 5
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        "compare.html", "compare.parquet", "nuclei.parquet", "differences"
    }  # fmt: skip


def test_a_program_gets_one_object_with_every_count(serial):
    ended = compared(serial, serial, "--json")
    facts = json.loads(ended.stdout)
    assert (facts["status"], facts["exit_code"], facts["n_compared"]) == ("done", 0, 1)
    assert facts["cohort"]["pq"] == 1.0
    assert facts["slides"][0]["slide_id"] == "cut"
    assert facts["slides"][0]["n_a"] == facts["slides"][0]["n_matched"] > 0


def test_unfinished_slides_are_passed_over_counted_and_said(serial, other):
    both = compared(other, other)
    assert both.exit_code == 3
    assert "not compared" in both.stdout
    assert "unfinished (in A); unfinished (in B)" in both.stdout
    facts = json.loads(compared(other, other, "--json").stdout)
    assert (facts["n_compared"], facts["n_skipped"], facts["exit_code"]) == (1, 1, 3)
    only_one = compared(serial, other)
    assert only_one.exit_code == 0
    assert "only in B, 1 slide: new" in only_one.stdout


def test_what_cannot_be_compared_is_refused(serial, tmp_path):
    (tmp_path / "photos").mkdir()
    ended = compared(serial, tmp_path / "photos", "--json")
    assert ended.exit_code == 2
    assert json.loads(ended.stdout)["error"] == "OutputNotOurs"
    empty = shutil.copytree(serial, tmp_path / "empty")
    Ledger(Layout(empty), "cut").row_path.unlink()
    ended = compared(serial, empty)
    assert ended.exit_code == 2
    assert "can be compared" in ended.stderr
