from pathlib import Path

import pytest
import torch

from segpipe.errors import SettingsError
from segpipe.networks import network
from segpipe.training.fit import check_patch
from segpipe.training.recipe import (
    RECIPES,
    read_recipe,
    shipped_recipe,
    shipped_recipes,
)

SHIPPED = shipped_recipes()


@pytest.mark.parametrize("path", SHIPPED, ids=[p.stem for p in SHIPPED])
def test_every_recipe_that_ships_is_sound(path):
    recipe = read_recipe(path)
    chosen = network(recipe.network)
    assert recipe.name == path.stem
    check_patch(recipe, chosen)
    assert recipe.licence
    assert recipe.data
    if recipe.freeze_encoder_steps or recipe.encoder_rate < 1:
        with torch.device("meta"):
            assert hasattr(chosen.build(len(recipe.types)), "encoder")


@pytest.mark.parametrize("path", SHIPPED, ids=[p.stem for p in SHIPPED])
def test_every_recipe_that_ships_begins_with_what_it_is_and_its_command(path):
    head = path.read_text().split("\nname =")[0].splitlines()
    assert all(line.startswith("#") for line in head)
    assert len(head[0]) < 90
    assert any(f"segpipe train {path.stem} " in line for line in head)


def test_there_is_a_recipe_for_each_task():
    assert {path.stem for path in SHIPPED} == {
        "hoverlite",
        "hoverlite-finetune",
        "kumar-hovernet",
        "consep-hovernet",
        "unet",
        "unet_transfer",
        "contour",
        "deeplabv3plus",
        "mask_rcnn",
        "yolactpp",
    }


def test_kumar_is_never_mixed_with_what_ships():
    for recipe in map(read_recipe, SHIPPED):
        if "kumar" in {one.name for one in recipe.sets}:
            assert "NC" in recipe.licence


@pytest.mark.parametrize("name", ["a/b", "", "../up"])
def test_a_name_must_serve_as_that_of_a_file(tmp_path, name):
    text = (RECIPES / "hoverlite.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('name = "hoverlite"', f'name = "{name}"', 1))
    with pytest.raises(SettingsError, match="must serve as a file's"):
        read_recipe(path)


def test_manifest_and_steps_can_be_given_instead(tmp_path):
    recipe = read_recipe(Path("hoverlite"), manifest=tmp_path / "m.csv", steps=7)
    assert (recipe.manifest, recipe.steps) == (tmp_path / "m.csv", 7)
    with pytest.raises(SettingsError, match="steps: Input should be greater than 0"):
        read_recipe(Path("hoverlite"), steps=0)


def test_the_shipped_weights_never_see_kumar():
    shipped = next(p for p in SHIPPED if p.stem == "hoverlite")
    assert "kumar" not in {one.name for one in read_recipe(shipped).sets}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("steps =", "stepz =", "stepz"),
        ("seed = 1", "seed =", "not TOML"),
        ("classes = [1,", "classes = [5,", "become type 5, but the recipe names 4"),
        ("weight = 0.06", "weight = -1", r"sets\.3\.weight"),
        ("elastic_px = 3.0", "stian = 1", "stian"),
        ("noise = 12.0", "noise = -1", "noise is -1.0; zero is the least"),
        ("chance = 0.3", "most = -1", "most is -1; zero"),
        ("chance = 0.3", "most = 0", "most is 0; 1 is the least"),
        ('name = "dsb2018"', 'name = "tnbc"', "sets: tnbc twice"),
        ("balance = 0.12", "balance = 1.5", "balance: Input should be less"),
        ("seed = 1", "encoder_rate = 0", "encoder_rate: Input should be greater"),
        ("seed = 1", "self_training = {images = 'a', mpp = 0}", r"self_training\.mpp"),
        ("seed = 1", "self_training = {mpp = 1}", r"self_training\.images"),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_fault(tmp_path, old, new, reason):
    text = next(p for p in SHIPPED if p.stem == "hoverlite").read_text()
    assert old in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(SettingsError, match=reason):
        read_recipe(path)


def test_a_recipe_that_ships_is_known_by_name():
    assert read_recipe(Path("hoverlite")) == shipped_recipe("hoverlite")
    assert shipped_recipe("no_such_network") is None


def test_a_recipe_that_ships_is_known_beside_a_folder_of_its_name(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hoverlite").mkdir()
    assert read_recipe(Path("hoverlite")) == shipped_recipe("hoverlite")


def test_a_missing_recipe_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="No recipe can be read"):
        read_recipe(tmp_path / "none.toml")


def test_balance_without_types_is_refused(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "a"\nnetwork = "hoverlite"\nmanifest = "m.csv"\nsteps = 1\n'
        'balance = 0.5\n[[sets]]\nname = "mine"\nweight = 1\n'
    )
    with pytest.raises(SettingsError, match=r"balance is 0\.5.*names no types"):
        read_recipe(path)


def test_a_recipe_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not TOML"):
        read_recipe(path)
