import csv

import cv2
import numpy as np
import pytest

from segpipe.training.patches import collate, draw_nth
from segpipe.training.recipe import Recipe, SetRecipe


def blobs(seed, side=96, n=14):
    """Dark discs on pink, one id each, and a type by size."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.uint16)
    types = np.zeros((side, side), np.uint8)
    rgb = np.full((side, side, 3), (235, 190, 215), np.uint8)
    y, x = np.mgrid[:side, :side]
    for index in range(1, n + 1):
        cy, cx = rng.uniform(8, side - 8, 2)
        radius = rng.choice((4, 7))
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        disc &= labels == 0
        labels[disc] = index
        types[disc] = 1 if radius == 4 else 2
        rgb[disc] = (90, 60, 140)
    noise = rng.normal(0, 6, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8), labels, types


def write_set(folder, *, n=4):
    """Write two sets, one typed and one not, and their manifest."""
    rows = []
    for index in range(n):
        rgb, labels, types = blobs(index)
        name, typed = f"im{index}", index % 2 == 0
        cv2.imwrite(str(folder / f"{name}.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / f"{name}_labels.png"), labels)
        cv2.imwrite(str(folder / f"{name}_types.png"), types)
        rows.append(
            {
                "set": "typed" if typed else "plain",
                "id": name,
                "split": "train",
                "image": f"{name}.png",
                "labels": f"{name}_labels.png",
                "types": f"{name}_types.png" if typed else "",
                "mpp": "0.5" if typed else "",
                "organ": "none",
                "instances": "exact" if typed else "approximate",
            }
        )
    return write_manifest(folder / "manifest.csv", rows)


def write_manifest(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def manifest(tmp_path):
    return write_set(tmp_path)


@pytest.fixture
def edit_manifest(manifest):
    """Change one field of the first row."""

    def edit(**fields):
        rows = read_rows(manifest)
        rows[0].update(fields)
        return write_manifest(manifest, rows)

    return edit


@pytest.fixture
def draw_batch():
    """Draw the batch of a step."""

    def draw(stock, recipe, chosen, step):
        return collate(
            [draw_nth(stock, recipe, chosen, step, n) for n in range(recipe.batch)]
        )

    return draw


@pytest.fixture
def recipe(manifest):
    return Recipe(
        name="tiny",
        network="hoverlite",
        manifest=manifest,
        types=("small", "large"),
        sets=(
            SetRecipe(name="typed", weight=2, classes=(1, 2), held_out={"im2"}),
            SetRecipe(name="plain", weight=1, mpp=0.5),
        ),
        patch_px=64,
        batch=2,
        steps=4,
        warmup_steps=1,
        save_every=2,
    )
