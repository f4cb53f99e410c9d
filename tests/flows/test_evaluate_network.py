"""By Prefect, by the command line and by a call, an evaluation comes to the same."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.evaluate_network import evaluate_network
from segpipe.training.scoring import Images, score_network

ANNOTATED = Path(__file__).parents[1] / "annotated"
SIDE = 160
RECIPE = """
name = "theirs"
network = "hoverlite"
manifest = "manifest.csv"
steps = 1
[[sets]]
name = "slide 10"
weight = 1
mpp = 0.25
held_out = ["10_1"]
"""
FILES = {"metrics.json", "images.parquet", "curves.parquet", "evaluation.html"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Cuts of two real annotated tiles, each a set of its own."""
    folder = tmp_path_factory.mktemp("annotated")
    rows = []
    for name in ("09_1", "10_1"):
        cut = np.s_[100 : 100 + SIDE, 100 : 100 + SIDE]
        cv2.imwrite(f"{folder}/{name}_image.png", read(f"{name}.jpg")[cut])
        cv2.imwrite(f"{folder}/{name}.png", read(f"{name}.png")[cut])
        row = {"set": f"slide {name[:2]}", "id": name, "split": "test", "mpp": "0.25"}
        rows.append(row | {"image": f"{name}_image.png", "labels": f"{name}.png"})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def read(name):
    return cv2.imread(str(ANNOTATED / name), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def called(manifest, tmp_path_factory):
    """What a call without Prefect comes to."""
    out = tmp_path_factory.mktemp("called")
    return out, score_network("hoverlite", Images(manifest=manifest), out)


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def segpipe(*arguments):
    return CliRunner().invoke(app, [str(one) for one in ("evaluate", *arguments)])


@pytest.mark.usefixtures("server")
def test_the_flow_comes_to_the_same_bytes(called, manifest, tmp_path):
    out, metrics = called
    returned = evaluate_network(manifest, tmp_path, device="cpu")
    assert returned == metrics
    assert contents(tmp_path) == contents(out)
    assert set(contents(out)) == FILES
    assert 0.4 < metrics["slide 10"]["pq"] < 1


def test_the_command_prints_what_the_call_returns(called, manifest, tmp_path):
    arguments = ("--manifest", manifest, "--out", tmp_path, "--device", "cpu")
    ended = segpipe(*arguments, "--set", "slide 10", "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout) == {"slide 10": called[1]["slide 10"]}


def test_label_maps_are_scored_without_a_network_and_shown_in_a_table(
    manifest, tmp_path
):
    arguments = ("--labels", manifest.parent, "--manifest", manifest)
    ended = segpipe(*arguments, "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ["slide", "10", "1", "24", *["1.000"] * 5, "–", "–"] in lines
    assert str(tmp_path / "out" / "evaluation.html") in ended.stdout


def test_label_maps_are_scored_as_a_recipe_has_the_sets(manifest, tmp_path):
    without_mpp = manifest.with_name("without_mpp.csv")
    lines = manifest.read_text().replace(",test,0.25,", ",train,,")
    without_mpp.write_text(lines)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    arguments = ("--labels", manifest.parent, "--manifest", without_mpp)
    arguments = (*arguments, "--out", tmp_path / "out", "--split", "dev", "--json")
    assert "split 'dev'" in segpipe(*arguments).stdout
    ended = segpipe(*arguments, "--recipe", recipe)
    assert ended.exit_code == 0, ended.output
    assert list(json.loads(ended.stdout)) == ["slide 10"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "dev"), "split 'dev'"),
        (("--set", "kumar"), "it has test of slide 09"),
        (("--tta", "twice"), "'twice'"),
        (("--network", "hoverlite", "--labels", ANNOTATED), "exclude each other"),
        (("--labels", ANNOTATED, "--tta", "flips"), "leave out --tta"),
        (("--labels", ANNOTATED, "--device", "cpu"), "leave out --device"),
        (("--weights", ANNOTATED), "--weights"),
        (("--network", "unknown"), "unknown"),
    ],
)
def test_a_call_that_can_not_be_met_is_refused_with_its_reason(
    manifest, tmp_path, arguments, message
):
    out = tmp_path / "out"
    ended = segpipe("--manifest", manifest, "--out", out, *arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert not out.exists()
