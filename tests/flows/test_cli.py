"""The command line: what it prints, with which code it ends, what it imports."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from click import unstyle
from typer.testing import CliRunner

from flows import exporting
from flows.cli import app
from flows.exits import UNWIND_S, Terminated, exits
from flows.options import members
from segpipe.errors import MppMissing, SettingsError, StageFailed
from segpipe.exports import Export
from segpipe.stages.outputs import prepare_out
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import read_slides

EXAMPLE = Path(__file__).parents[2] / "examples" / "cmu-1-small-region.svs"
RUNNER = CliRunner()


def segpipe(*arguments):
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


def in_a_process(code):
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.svs"
    path.write_bytes(b"no slide at all")
    return path


@pytest.mark.usefixtures("server", "scheduler")
def test_run_says_all_in_one_json_object_and_then_has_nothing_to_do(
    tmp_path, slide, serial
):
    def run_again():
        ended = segpipe(
            "run", slide.path, "--out", tmp_path, "--json", "--tile-px", "512"
        )
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    first, second = run_again(), run_again()
    assert (first["n_done"], first["n_unchanged"]) == (1, 0)
    assert (second["n_done"], second["n_unchanged"]) == (0, 1)
    (row,) = first["slides"]
    assert row["status"] == "done"
    assert row["n_nuclei"] > 50
    assert row["nuclei_per_mm2"] == pytest.approx(row["n_nuclei"] / row["tissue_mm2"])
    assert list(row["seconds"]) == ["tile", "predict", "label", "stitch", "measure"]
    assert Layout(tmp_path).table("cut").samefile(row["files"]["table"])
    table = Layout(serial).table("cut").read_bytes()
    assert Layout(tmp_path).table("cut").read_bytes() == table


def test_the_summary_says_what_was_found_and_where(slide, serial):
    ended = segpipe(
        "run", slide.path, "--out", serial, "--serial", "--tile-px", "512",
        "--keep", "image,maps", "--workers", "2", "--device", "cpu",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert "Nothing to do" in ended.stdout
    assert "per mm²" in ended.stdout
    assert "0.499 µm per pixel" in ended.stdout
    assert str(Layout(serial).table("cut")) in ended.stdout.replace("\n", "")


def test_a_slide_that_is_refused_ends_with_2_and_is_quarantined(tmp_path, broken):
    out = tmp_path / "out"
    ended = segpipe("run", broken, "--out", out, "--serial", "--json")
    assert ended.exit_code == 2
    said = json.loads(ended.stdout)
    assert said["exit_code"] == 2
    assert said["slides"][0]["error"] == "SlideCorrupt"
    assert said["slides"][0]["stage"] == "plan"
    assert Layout(out).quarantine("broken").exists()
    assert "Traceback" not in ended.output


def test_quiet_says_only_what_went_wrong(tmp_path, broken, slide, serial):
    same = ("--serial", "--tile-px", "512", "--keep", "image,maps", "--quiet")
    ended = segpipe("run", slide.path, "--out", serial, *same)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "")
    ended = segpipe("run", broken, "--out", tmp_path / "out", *same)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "quarantined  broken" in ended.stderr


def test_log_and_metrics_are_kept_where_asked(tmp_path, slide, serial):
    log, metrics = tmp_path / "run.jsonl", tmp_path / "segpipe.prom"
    ended = segpipe(
        "run", slide.path, "--out", serial, "--serial", "--tile-px", "512",
        "--keep", "image,maps", "--log-file", log, "--metrics-file", metrics,
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["run_started", "slide_unchanged", "run_ended"]
    assert 'segpipe_slides_total{status="unchanged"' in metrics.read_text()


@pytest.mark.usefixtures("broken")
def test_a_cohort_with_bad_slides_ends_with_3(tmp_path):
    (tmp_path / "empty.tif").touch()
    out = tmp_path / "out"
    ended = segpipe("run", tmp_path, "--out", out, "--serial")
    assert ended.exit_code == 3
    assert "quarantined  broken" in ended.stdout
    assert "quarantined  empty" in ended.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--network", "nosuch"], "nosuch"),
        (["--tile-px", "12"], "tile_px"),
        (["--workers", "0"], "workers"),
        (["--keep", "everything"], "everything"),
        (["--config", "nosuch.toml"], "nosuch.toml"),
        (["--scheduler", "tcp://10.0.0.1:8786", "--workers", "2"], "exclude"),
    ],
)
def test_wrong_settings_end_with_2_and_one_sentence(tmp_path, slide, options, said):
    ended = segpipe("run", slide.path, "--out", tmp_path / "o", "--serial", *options)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("error: ")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("kind", ["file", "foreign"])
def test_a_folder_that_is_not_ours_is_left_alone(tmp_path, slide, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("precious")
    else:
        out.mkdir()
        (out / "thesis.tex").write_text("precious")
    ended = segpipe("run", slide.path, "--out", out, "--serial")
    assert ended.exit_code == 2
    assert str(out) in ended.stderr
    left = out if kind == "file" else out / "thesis.tex"
    assert left.read_text() == "precious"


def test_one_mask_for_many_slides_is_refused(tmp_path, slide, broken):
    ended = segpipe(
        "run", slide.path, broken, "--out", tmp_path / "o", "--tissue-mask", "m.png"
    )
    assert ended.exit_code == 2
    assert "manifest with a column tissue_mask" in ended.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "goes on from here"),
        (MppMissing("no mpp"), 2, "error: no mpp"),
        (StageFailed("unit 3"), 1, "error: unit 3"),
        (OSError(5, "Input/output error"), 1, "Input/output error"),
        (ZeroDivisionError("x"), 1, "unexpected ZeroDivisionError"),
        (Terminated(), 143, "goes on from here"),
    ],
    ids=repr,
)
def test_every_error_has_its_code_and_sentence(capsys, error, code, said):
    with pytest.raises(typer.Exit) as ended, exits(as_json=True):
        raise error
    printed = capsys.readouterr()
    assert ended.value.exit_code == code
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert json.loads(printed.out)["exit_code"] == code


def test_debug_shows_where_an_error_arose():
    with pytest.raises(StageFailed), exits(debug=True):
        raise StageFailed


def test_plan_says_what_a_run_would_cost_and_writes_nothing(tmp_path, slide):
    out = tmp_path / "out"
    ended = segpipe("plan", slide.path, "--out", out, "--tile-px", "512")
    assert ended.exit_code == 0, ended.output
    plan = json.loads(ended.stdout)
    assert plan["canvas"]["mpp"] == pytest.approx(0.2495)
    assert plan["n_tissue_windows"] == 2
    assert plan["price"]["worker_bytes"] > 0
    assert not out.exists()


def test_plan_takes_what_changes_its_answer(tmp_path, slide):
    def planned(*chosen):
        ended = segpipe("plan", slide.path, "--out", tmp_path / "out", *chosen)
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    plain = planned()
    keeping = planned("--keep", "image, maps")
    assert sorted(keeping["settings"]["keep"]) == ["image", "maps"]
    assert keeping["price"]["kept_bytes"] > plain["price"]["kept_bytes"]
    smaller = planned("--max-extent-um", "60")
    assert smaller["measure_margin_px"] < plain["measure_margin_px"]
    for chosen in (("--min-prob", "0.9"), ("--min-area-um2", "9")):
        assert planned(*chosen)["keys"]["stitch"] != plain["keys"]["stitch"]
    assert planned("--slides-at-once", "2")["settings"]["slides_at_once"] == 2
    elsewhere = planned("--scheduler", "tcp://127.0.0.1:8786", "--device", "cuda")
    assert elsewhere["device"] == "cuda"
    assert planned("--cluster", "lab.toml")["settings"]["cluster"] == "lab.toml"


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (None, None),
        ("", []),
        ("image", ["image"]),
        ("image,maps", ["image", "maps"]),
        (" image , maps, ", ["image", "maps"]),
    ],
)
def test_blanks_between_members_are_nothing(listed, found):
    assert members(listed) == found


def test_keep_is_read_alike_by_all_who_take_it(serial):
    ended = segpipe("inspect", serial, "cut", "--keep", "image, maps", "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["now"]["changes"] == []


@pytest.fixture
def long_names(tmp_path):
    """A result folder of a slide of long name that failed for a long reason."""
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    name = "-".join(["S-2026-11-27"] * 8)
    (inbox / f"{name}.svs").write_bytes(b"no slide at all")
    segpipe("run", inbox, "--out", out, "--serial")
    (row,) = read_slides(Layout(out).slides)
    assert len(row.reason) > 80
    return out, row


def test_inspect_has_names_and_reasons_whole_in_a_pipe(long_names):
    out, row = long_names
    lines = segpipe("inspect", out).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(row.slide_id)]
    assert line.endswith(row.reason)


def test_inspect_folds_names_and_reasons_in_a_terminal(long_names):
    out, row = long_names
    terminal = {"FORCE_COLOR": "1", "COLUMNS": "100", "TERM": "vt100"}
    ended = RUNNER.invoke(app, ["inspect", str(out)], env=terminal)
    lines = unstyle(ended.stdout).splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert "…" not in "".join(lines)
    header = next(line for line in lines if "slide" in line and "reason" in line)
    width, at = header.index("status"), header.index("reason")
    rows = lines[lines.index(header) + 1 :]
    assert "".join(line[:width].strip() for line in rows).startswith(row.slide_id)
    shown = "".join(line[at:].strip() for line in rows)
    assert row.reason.replace(" ", "") in shown.replace(" ", "")


def test_inspect_tells_of_every_slide_and_of_one(serial):
    every = segpipe("inspect", serial, "--json")
    assert every.exit_code == 0, every.output
    one = segpipe("inspect", serial, "cut", "--json")
    assert one.exit_code == 0, one.output
    stages = [stage["stage"] for stage in json.loads(one.stdout)["stages"]]
    assert stages == ["tile", "predict", "label", "stitch", "measure"]
    assert segpipe("inspect", serial, "nosuch").exit_code == 2
    assert segpipe("inspect", serial.parent).exit_code == 2


def test_export_writes_a_file_for_each_slide(tmp_path, serial):
    ended = segpipe("export", serial, "--format", "geojson", "--to", tmp_path)
    assert ended.exit_code == 0, ended.output
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("cut.")
    unknown = segpipe("export", serial, "--format", "nosuch")
    assert unknown.exit_code == 2
    assert "geojson" in unknown.stderr


@pytest.mark.parametrize("name", ["csv", "geojson"])
def test_an_export_is_compressed_when_asked(tmp_path, serial, name):
    for chosen in ([], ["--gzip"]):
        ended = segpipe("export", serial, "--format", name, "--to", tmp_path, *chosen)
        assert ended.exit_code == 0, ended.output
    plain, packed = tmp_path / f"cut.{name}", tmp_path / f"cut.{name}.gz"
    assert ended.stdout.strip() == str(packed)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


def test_a_format_without_a_compressed_form_says_so(tmp_path, serial, monkeypatch):
    plain = Export(
        name="plain", extensions=(".txt",), description="all", write=lambda *_: None
    )
    monkeypatch.setattr(exporting, "export_named", lambda _name: plain)
    wanted = exporting.export_slides(serial, "plain", None, tmp_path, is_packed=True)
    with pytest.raises(SettingsError, match=r"plain is written as \.txt only"):
        next(wanted)


def test_formats_are_listed_with_what_opens_them():
    ended = segpipe("export", "--list")
    assert ended.exit_code == 0, ended.output
    (line,) = [each for each in ended.stdout.splitlines() if "geojson" in each]
    assert ".geojson.gz" in line
    assert "QuPath" in line


@pytest.mark.parametrize(
    ("command", "listed"), [("networks", "hoverlite"), ("readers", "openslide")]
)
def test_networks_and_readers_are_listed(command, listed):
    ended = segpipe(command)
    assert ended.exit_code == 0
    assert listed in ended.stdout
    found = json.loads(segpipe(command, "--json").stdout)[command]
    assert listed in [each["name"] for each in found]


def test_listed_networks_say_which_weights_ship():
    found = json.loads(segpipe("networks", "--json").stdout)["networks"]
    by_name = {each["name"]: each for each in found}
    shipped = by_name["hoverlite"]
    assert Path(shipped["weights"]).is_file()
    assert shipped["licence"]
    assert shipped["mpp"] == 0.25
    assert by_name["contour"]["weights"] is None


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "plan",
        "inspect",
        "gc",
        "export",
        "train",
        "evaluate",
        "calibrate",
        "convert",
        "networks",
        "readers",
    ],
)
def test_every_command_helps(command):
    assert segpipe(command, "--help").exit_code == 0


def test_help_comes_at_once():
    heavy = "{'torch', 'prefect', 'distributed', 'dask', 'zarr', 'numba'}"
    started = time.perf_counter()
    found = in_a_process(
        f"import sys, flows.cli; print(sorted({heavy} & set(sys.modules)))"
    )
    assert found == "[]"
    assert time.perf_counter() - started < 3


def test_a_serial_run_needs_neither_prefect_nor_dask(tmp_path, broken):
    code = f"""
import sys
from flows.cli import app
try:
    app(["run", {str(broken)!r}, "--out", {str(tmp_path / "out")!r}, "--serial"])
except SystemExit as ended:
    heavy = {{"prefect", "distributed", "dask"}} & set(sys.modules)
    print("ended with", ended.code, "and", sorted(heavy))
"""
    assert in_a_process(code).endswith("ended with 2 and []")


def test_a_done_slide_that_is_replaced_by_a_broken_one_is_quarantined(tmp_path, slide):
    path, out = tmp_path / "cut.tif", tmp_path / "out"
    path.write_bytes(slide.path.read_bytes())
    arguments = ["run", path, "--out", out, "--serial", "--no-report", "--json"]
    assert segpipe(*arguments).exit_code == 0
    path.write_bytes(b"no slide at all")
    assert segpipe(*arguments).exit_code == 2
    assert Layout(out).quarantine("cut").exists()
    assert [row.status for row in read_slides(Layout(out).slides)] == ["quarantined"]
    path.write_bytes(slide.path.read_bytes())
    assert segpipe(*arguments).exit_code == 0
    assert [row.status for row in read_slides(Layout(out).slides)] == ["done"]


def record_of(out, slide_id):
    return json.loads(Layout(out).quarantine(slide_id).read_text())


def test_quarantined_slides_are_passed_over_until_they_change_or_one_asks(tmp_path):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    for name in ("a.svs", "b.svs"):
        (inbox / name).write_bytes(b"no slide at all")

    def run(*options):
        ended = segpipe("run", inbox, "--out", out, "--serial", "--json", *options)
        assert ended.exit_code == 3, ended.output
        tries = [record_of(out, name)["n_attempts"] for name in "ab"]
        return json.loads(ended.stdout)["n_passed_over"], tries

    assert run() == (0, [1, 1])
    assert run() == (2, [1, 1])
    (inbox / "b.svs").write_bytes(b"no slide either")
    assert run() == (1, [1, 2])
    assert run("--retry-quarantined") == (0, [2, 3])
    assert run("--mpp", "0.5") == (0, [3, 4])
    record = record_of(out, "a")
    assert record["error"] == "SlideCorrupt"
    assert record["stage"] == "plan"
    assert record["traceback"].startswith("Traceback")
    ended = segpipe("run", inbox, "--out", out, "--serial", "--mpp", "0.5")
    assert "2 of them were quarantined by an earlier run" in ended.stdout
    assert "--retry-quarantined" in ended.stdout


def test_a_slide_alone_that_is_passed_over_ends_as_when_it_was_tried(tmp_path, broken):
    arguments = ["run", broken, "--out", tmp_path / "out", "--serial", "--json"]
    first, again = segpipe(*arguments), segpipe(*arguments)
    assert (first.exit_code, again.exit_code) == (2, 2)
    (before,), (after,) = (json.loads(e.stdout)["slides"] for e in (first, again))
    assert after == before | {"passed_over": True}


@pytest.mark.parametrize("allowed", ["1", "40%"])
def test_a_run_with_too_many_bad_slides_is_stopped(tmp_path, allowed):
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    for name in "abcd":
        (inbox / f"{name}.svs").write_bytes(b"no slide at all")
    ended = segpipe(
        "run", inbox, "--out", out, "--serial", "--max-quarantined", allowed
    )
    assert ended.exit_code == 1
    assert "2 of the 2 slides tried were quarantined" in ended.stderr
    assert "2 slides were not tried" in ended.stderr
    rows = [row.slide_id for row in read_slides(Layout(out).slides)]
    assert rows == ["a", "b"]


def test_sigterm_stops_a_run_soon_and_it_goes_on_later(tmp_path):
    out = tmp_path / "out"
    run = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", str(EXAMPLE), "--out", str(out),
         "--serial", "--no-report", "--device", "cpu"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(out.glob("ledger/*/predict-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.terminate()
    said = run.communicate(timeout=UNWIND_S + 2)[1]
    assert run.returncode == 143
    assert "error: stopped. Finished work is kept" in said
    (closed,) = out.glob("ledger/*/tile-*/closed.json")
    assert json.loads(closed.read_text())["n_units"] > 0


def test_a_slide_that_another_run_holds_is_left_to_it(tmp_path, slide):
    out = tmp_path / "out"
    with Ledger(prepare_out(out), "cut").held():
        alone = segpipe("run", slide.path, "--out", out, "--serial")
        in_cohort = segpipe("run", slide.path.parent, "--out", out, "--serial")
        as_json = segpipe("run", slide.path, "--out", out, "--serial", "--json")
        quiet = segpipe("run", slide.path, "--out", out, "--serial", "--quiet")
    assert (alone.exit_code, in_cohort.exit_code) == (0, 0)
    assert "being worked on by another run" in alone.stdout.replace("\n", " ")
    assert quiet.output == ""
    facts = json.loads(as_json.stdout)
    assert (facts["status"], facts["exit_code"]) == ("busy", 0)
    assert (facts["n_busy"], facts["n_quarantined"]) == (1, 0)
    assert facts["slides"][0]["status"] == "busy"
    assert "another run" in facts["slides"][0]["reason"]
    assert not Layout(out).quarantine("cut").exists()
