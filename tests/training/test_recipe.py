from pathlib import Path

import pytest

from segpipe.errors import SettingsError
from segpipe.networks import networks
from segpipe.training.recipe import RECIPES, read_recipe, shipped_recipe

SHIPPED = sorted(RECIPES.glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=[p.stem for p in SHIPPED])
def test_every_recipe_that_ships_is_sound(path):
    recipe = read_recipe(path)
    assert recipe.network in networks()
    assert recipe.name == path.stem
    for one in recipe.sets:
        assert all(kind <= len(recipe.types) for kind in one.classes)


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
        ("seed = 1", "seed = 1\naugmentation = {stian = 1}", "stian"),
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


def test_a_missing_recipe_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="No recipe can be read"):
        read_recipe(tmp_path / "none.toml")
