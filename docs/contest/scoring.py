"""Decoder constants chosen on a few dev images, and scores on images never seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from segpipe.networks import load
from segpipe.training.annotated import read_annotated
from segpipe.training.calibrate import calibrate, chosen_constants
from segpipe.training.evaluating import evaluate
from segpipe.training.export import annotate_card
from segpipe.training.finding import NetworkFinder, answer_image
from segpipe.training.recipe import Recipe
from segpipe.training.scoring import Images
from segpipe.training.selecting import evenly_spread, select_samples

SCORED: Mapping[str, tuple[str, str]] = {
    "kumar-16": ("kumar", "train"),
    "consep-held-out": ("consep", "dev"),
}
"""Set and split in the manifest, by what the page calls it. Kumar is trained on by no
recipe here; the recipe holds five images of consep out."""
Scores = dict[str, dict[str, Any]]
"""Scores by set and name."""
KEPT = ("n_images", "n_nuclei", "dice", "aji", "pq", "ap50", "map")
CHOSEN_ON = "tnbc"


def calibrated(weights: Path, recipe: Recipe, *, n_images: int, device: str) -> None:
    """Choose the decoder's constants, once through, and write them into the card."""
    if n_images == 0:
        return
    samples = select_samples(recipe.manifest, "dev", recipe, only={CHOSEN_ON})
    images = [read_annotated(sample) for sample in evenly_spread(samples, n_images)]
    loaded = load(weights, device=device)
    loaded = replace(loaded, decoding=loaded.network.decoding())
    predicted = [(image, answer_image(loaded, image)) for image in images]
    best, _ = calibrate(loaded, predicted, loaded.network.decoding.CHOICES, rounds=1)
    annotate_card(weights, decoding=chosen_constants(best))


def scored(weights: Path, recipe: Recipe, out: Path, *, device: str) -> Scores:
    """Evaluate as ``segpipe evaluate`` does; return the scores the page shows."""
    finder = NetworkFinder(loaded=load(weights, device=device))
    rows = {}
    for title, (name, split) in SCORED.items():
        images = Images(manifest=recipe.manifest, split=split, sets={name})
        found = evaluate(finder, images.select(recipe), out / title)[name]
        rows[title] = {key: _short(found.get(key)) for key in KEPT}
    return rows


def _short(value: Any) -> Any:  # noqa: ANN401 - a count, a score or nothing
    return round(value, 4) if isinstance(value, float) else value
