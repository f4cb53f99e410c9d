"""What the commands `inspect` and `gc` say, and what `gc` does."""

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from flows.cli import app
from segpipe.stages import pricing
from segpipe.stages.memory import FreeMemory
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger

RUNNER = CliRunner()


def segpipe(*arguments):
    ended = RUNNER.invoke(app, [str(argument) for argument in arguments])
    assert ended.exit_code == 0, ended.output
    return ended.stdout


@pytest.fixture
def out(serial, tmp_path):
    shutil.copytree(serial, tmp_path / "out")
    return tmp_path / "out"


def test_a_finished_slide_has_nothing_to_do(out):
    said = segpipe("inspect", out, "cut")
    assert "A run with the settings of the last run would find everything done." in said
    facts = json.loads(segpipe("inspect", out, "cut", "--json"))
    assert facts["now"]["is_done"]
    assert facts["holder"] is None
    assert facts["settings"]["tile_px"] == 512


def test_an_option_says_what_it_would_run_again_and_why(out, tmp_path):
    said = segpipe("inspect", out, "cut", "--min-area-um2", "12")
    assert "A run with min_area_um2=12.0 would run:" in said
    assert "min_area_um2 4.0 → 12.0" in said
    assert "follows stitch" in said
    config = tmp_path / "settings.toml"
    config.write_text("max_extent_um = 80.0\n")
    facts = json.loads(segpipe("inspect", out, "cut", "--config", config, "--json"))
    running = [stage["stage"] for stage in facts["now"]["stages"] if stage["would_run"]]
    assert running == ["stitch", "measure"]
    assert facts["now"]["changes"] == ["max_extent_um=80.0"]


def test_a_row_reads_as_numbers_of_few_digits_without_what_is_not_known(out):
    said = segpipe("inspect", out, "cut").splitlines()
    (times,) = [line for line in said if line.strip().startswith("seconds ")]
    assert re.fullmatch(r"  seconds +label [\d.e-]+, measure .*", times)
    assert not any("None" in line for line in said)


def test_a_slide_whose_ledger_was_deleted_is_known_by_the_table(out):
    shutil.rmtree(Layout(out).ledger_root)
    assert "1 slide in" in segpipe("inspect", out)
    before = json.loads(segpipe("inspect", out, "--json"))["slides"][0]
    facts = json.loads(segpipe("inspect", out, "cut", "--json"))
    assert facts["row"]["n_nuclei"] == before["n_nuclei"]
    assert facts["stages"] == []
    said = segpipe("inspect", out, "cut")
    assert "n_nuclei" in said
    assert "predict  " not in said
    assert "There is nothing to remove." in segpipe("gc", out)


def test_a_folder_that_was_moved_is_forecast_where_it_lies_now(out, serial):
    plan = json.loads(Ledger(Layout(out), "cut").plan_path.read_text())
    assert plan["out"] == str(serial)
    Layout(out).table("cut").unlink()  # here, not where the run was
    facts = json.loads(segpipe("inspect", out, "cut", "--json"))
    assert not facts["now"]["is_done"]
    running = [stage["stage"] for stage in facts["now"]["stages"] if stage["would_run"]]
    assert running == ["measure"]


def test_what_is_done_needs_no_memory_and_no_disk(out, monkeypatch):
    monkeypatch.setattr(pricing, "free_memory", lambda: FreeMemory(n_bytes=0))
    monkeypatch.setattr(pricing, "RUNTIME_BYTES", 2**50)
    facts = json.loads(segpipe("inspect", out, "cut", "--json"))
    assert facts["now"]["is_done"]
    assert facts["now"]["refused"] is None
    assert not any(stage["would_run"] for stage in facts["now"]["stages"])
    said = segpipe("inspect", out, "cut", "--min-area-um2", "12")
    assert "would be refused" in said
    Layout(out).table("cut").unlink()
    assert "would be refused" in segpipe("inspect", out, "cut")


def test_what_would_be_refused_is_said_with_the_reason(out):
    said = segpipe("inspect", out, "cut", "--mpp", "99")
    assert "would be refused" in said
    assert "99 micrometres per pixel" in said


def test_who_works_on_a_slide_is_said(out):
    with Ledger(Layout(out.resolve()), "cut").held():
        assert "in use by process" in segpipe("inspect", out, "cut")


def test_gc_shows_first_and_removes_when_told(out):
    receipts = Layout(out).ledger("cut") / "label-0123456789abcdef"
    receipts.mkdir()
    (receipts / "00000000-2.json").write_text("x" * 2000)
    said = segpipe("gc", out)
    assert "label-0123456789abcdef" in said
    assert "receipts of another key" in said
    assert "2.0 KiB in 1 files and folders may go; nothing was removed." in said
    assert receipts.exists()
    facts = json.loads(segpipe("gc", out, "--yes", "--json"))
    assert facts["removed"]
    assert facts["n_bytes"] == 2000
    assert not receipts.exists()
    assert "There is nothing to remove." in segpipe("gc", out)


def test_gc_refuses_what_is_no_result_folder(tmp_path):
    (tmp_path / "precious").touch()
    ended = RUNNER.invoke(app, ["gc", str(tmp_path), "--yes"])
    assert ended.exit_code == 2
    assert "no result folder" in ended.stderr
    assert (tmp_path / "precious").exists()
