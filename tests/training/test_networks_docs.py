"""The page that compares networks says what was measured, and all can be run."""

import csv
import sys
from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from segpipe.networks import load, network
from segpipe.training.fit import check_patch

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))
compare = import_module("compare_networks")
contenders, budget, rows, page = (
    import_module(f"contest.{name}")
    for name in ("contenders", "budget", "rows", "page")
)
sys.path.remove(str(DOCS))
BY_NAME = {one.name: one for one in contenders.CONTENDERS}
BUDGET = budget.Budget(minutes=1)


def recipe_of(one, steps=1000):
    return budget.recipe_of(one, BUDGET, Path("manifest.csv"), steps)


def test_no_two_contenders_share_a_name_or_settings():
    assert len(BY_NAME) == len(contenders.CONTENDERS)
    folders = {rows.folder_of(one, BUDGET, Path()).name for one in BY_NAME.values()}
    assert len(folders) == len(BY_NAME)


@pytest.mark.parametrize("one", contenders.CONTENDERS, ids=list(BY_NAME))
def test_every_contender_has_a_recipe_that_its_network_takes(one):
    recipe = recipe_of(one)
    check_patch(recipe, network(recipe.network))
    names = {one.name for one in recipe.sets}
    assert names == {"tnbc", "nuinsseg", "consep", "dsb2018"}, "never kumar"
    held_out = next(s.held_out for s in recipe.sets if s.name == "consep")
    assert len(held_out) == 5


def test_an_ablation_differs_in_one_thing_from_what_it_is_compared_with():
    for one in contenders.ABLATIONS:
        own, other = (
            recipe_of(it).model_dump(exclude={"name"})
            for it in (one, BY_NAME[one.against])
        )
        differ = {name for name in own if own[name] != other[name]}
        known = ({"network"}, {"augmentation"}, {"encoder_weights"}, {"sets", "types"})
        assert differ in known, one.name


def test_the_schedule_fits_the_steps_that_the_budget_buys():
    for steps in (50, 1000, 100_000):
        recipe = recipe_of(BY_NAME["hoverlite"], steps)
        assert recipe.steps == steps
        assert 0 < recipe.warmup_steps <= steps / 10
        assert 1 / (1 - recipe.ema) <= max(steps / 5, 11)


@pytest.mark.parametrize(("name", "side"), [("unet", 188), ("contour", 192)])
def test_a_patch_is_as_near_as_can_be_to_what_all_get(name, side):
    assert budget.patch_side(network(name), 192) == side


def test_contenders_are_chosen_by_name_or_group():
    chosen = contenders.chosen(["contour", "light"])
    assert [one.name for one in chosen[:2]] == ["contour", "hoverlite"]
    assert len(chosen) == len(contenders.LIGHT)
    with pytest.raises(SystemExit, match="There is no nobody"):
        contenders.chosen(["nobody"])


def test_the_page_says_what_was_measured():
    assert not page.is_stale(), "run python docs/compare_networks.py page"


def test_rows_are_of_contenders_with_their_settings():
    for name, row in rows.read_rows().items():
        if "settings" not in row:
            continue
        own = row["settings"]
        asked = budget.Budget(
            minutes=own["minutes"], device=own["device"], batch=own["batch"]
        )
        dev_images = {rows.DEV_IMAGES: own[rows.DEV_IMAGES]}
        assert rows.settings_of(BY_NAME[name], asked) | dev_images == own


def test_a_row_that_has_not_been_run_says_so():
    for rest in ({}, {"hovernet": {"size": {}, "speed": {}}}):
        assert "not yet run" in page.scores_table([BY_NAME["hovernet"]], rest)
    few = {"settings": {"minutes": 3, "device": "cpu"}, "steps": 4}
    assert "too few: 4" in page.scores_table([BY_NAME["hovernet"]], {"hovernet": few})


def test_an_ablation_is_not_compared_across_budgets():
    scores = dict.fromkeys(page.SCORES, 0.5)
    sets = {page.KUMAR: scores, page.CONSEP: scores}

    def row(minutes):
        settings = {"minutes": minutes, "device": "cpu"}
        return {"settings": settings, "steps": 9, "scores": sets}

    alike = {"mask_rcnn-lite0": row(3), "mask_rcnn-lite0-roipool": row(3)}
    assert "0.500 (+0.000)" in page.ablations_table(alike)
    assert "(+" not in page.ablations_table({**alike, "mask_rcnn-lite0": row(9)})


@pytest.fixture
def small_sets(manifest):
    """A manifest with some of the tiny images in each set, all that are held out."""
    named = [
        ("tnbc", "a", "train"),
        ("tnbc", "b", "dev"),
        ("nuinsseg", "c", "train"),
        ("consep", "d", "train"),
        *(("consep", f"train_{n}", "train") for n in (3, 9, 10, 24, 26)),
        ("dsb2018", "e", "train"),
        ("kumar", "f", "train"),
    ]
    lines = [
        (*names, f"im{n % 4}.png", f"im{n % 4}_labels.png", 0.5)
        for n, names in enumerate(named)
    ]
    path = manifest.with_name("small.csv")
    with path.open("w", newline="") as file:
        columns = ("set", "id", "split", "image", "labels", "mpp")
        csv.writer(file).writerows([columns, *lines])
    return path


def test_a_contender_is_trained_and_scored_once(small_sets, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(rows, "ROWS", tmp_path / "networks.json")
    monkeypatch.setattr(compare, "LEAST_STEPS", 2)
    said = []
    monkeypatch.setattr(compare, "say", said.append)
    small = replace(BY_NAME["unet-small"], patch_px=32)
    options = Namespace(
        manifest=small_sets, dev_images=1, out=tmp_path / "out", device="cpu"
    )
    shared = budget.Budget(minutes=0.004, batch=1)
    compare.train_one(small, shared, options)
    row = rows.read_rows()["unet-small"]
    assert row["steps"] >= 2
    assert row["spent_s"] > 0
    assert row["scores"]["kumar-16"]["n_images"] == 1
    assert row["scores"]["consep-held-out"]["n_images"] == 5
    weights = rows.weights_of(small, options.out)
    assert load(weights).network.name == "unet:small"
    compare.train_one(small, shared, options)
    assert said[-1] == "unet-small: there already"
    assert rows.read_rows() == {"unet-small": row}
