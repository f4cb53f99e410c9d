"""Training by Prefect and by the command line comes to the weights of a direct call."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from flows.cli import app
from flows.train_network import train_network
from segpipe.networks import load
from segpipe.training.export import export_weights
from segpipe.training.fit import CHECKPOINT, LOG, train
from segpipe.training.recipe import read_recipe, shipped_recipes

TILES = Path(__file__).parents[1] / "annotated"
RECIPE = """
name = "tiny"
network = "hoverlite"
manifest = "none.csv"
patch_px = 64
batch = 2
steps = 3
warmup_steps = 1
save_every = 1

[[sets]]
name = "tnbc"
weight = 1
"""
KILLED_AT_2 = """
import os, signal, sys
from pathlib import Path
import torch
from segpipe.training.fit import train
from segpipe.training.recipe import read_recipe
def watch(taken):
    if taken.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
torch.set_num_threads(1)
recipe, manifest, out = map(Path, sys.argv[1:])
train(read_recipe(recipe, manifest=manifest), out, watch=watch)
"""


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """A recipe and a manifest of the tiles in the repository."""
    folder = tmp_path_factory.mktemp("annotated")
    (folder / "tiny.toml").write_text(RECIPE)
    names = ("set", "id", "split", "image", "labels", "mpp")
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(names)
        for name in ("09_1", "10_1"):
            pictures = (TILES / f"{name}.jpg", TILES / f"{name}.png")
            rows.writerow(["tnbc", name, "train", *pictures, 0.25])
    return folder / "tiny.toml", folder / "manifest.csv"


@pytest.fixture(scope="module")
def direct(annotated, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("direct")
    recipe, manifest = annotated
    export_weights(train(read_recipe(recipe, manifest=manifest), out), out)
    return out


def same(one, other):
    names = (LOG, "tiny.safetensors", "tiny.toml")
    return [n for n in names if (one / n).read_bytes() != (other / n).read_bytes()]


@pytest.mark.usefixtures("server")
def test_the_flow_comes_to_the_same_weights(annotated, direct, tmp_path):
    recipe, manifest = annotated
    weights = train_network(recipe, tmp_path, device="cpu", manifest=manifest)
    assert weights == tmp_path / "tiny.safetensors"
    assert same(tmp_path, direct) == []
    assert load(weights, device="cpu").card.recipe == "tiny, seed 1, 3 steps"


@pytest.mark.usefixtures("server")
def test_the_flow_goes_on_where_a_killed_process_stopped(annotated, direct, tmp_path):
    recipe, manifest = annotated
    arguments = [sys.executable, "-c", KILLED_AT_2, recipe, manifest, tmp_path]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(arguments, env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / CHECKPOINT).exists()
    assert not (tmp_path / "tiny.safetensors").exists()
    train_network(recipe, tmp_path, device="cpu", manifest=manifest)
    assert same(tmp_path, direct) == []


def segpipe(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_comes_to_the_same_weights_and_tells_the_loss(
    annotated, direct, tmp_path
):
    recipe, manifest = annotated
    ended = segpipe(
        "train", recipe, "--out", tmp_path, "--manifest", manifest,
        "--device", "cpu", "--draw-workers", "3",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert same(tmp_path, direct) == []
    assert ended.stdout.strip() == str(tmp_path / "tiny.safetensors")
    loss = float((direct / LOG).read_text().splitlines()[-1].split(",")[2])
    assert f"step 3 of 3: loss {loss:.3f}  rate 0.0e+00" in ended.stderr


def test_another_number_of_steps_is_another_run(annotated, direct):
    recipe, manifest = annotated
    ended = segpipe(
        "train", recipe, "--out", direct, "--manifest", manifest, "--steps", "9"
    )
    assert ended.exit_code == 2
    assert "steps: 3 there, 9 here" in ended.stderr


def test_a_manifest_that_is_not_there_is_refused(annotated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = segpipe("train", annotated[0], "--out", tmp_path / "run")
    assert ended.exit_code == 2
    assert "none.csv" in ended.stderr
    assert "--manifest" in ended.stderr
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_not_there_names_those_that_ship(tmp_path):
    ended = segpipe("train", "no-such-recipe", "--out", tmp_path / "run")
    assert ended.exit_code == 2
    assert all(path.stem in ended.stderr for path in shipped_recipes())


def test_the_recipes_are_listed():
    ended = segpipe("train", "--list")
    assert ended.exit_code == 0
    for path in shipped_recipes():
        assert f"\n{path.stem} " in ended.stdout
