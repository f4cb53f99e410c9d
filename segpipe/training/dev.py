"""Scores on a few dev images while training goes on; they change nothing in it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from segpipe.metrics import mean_score, scores
from segpipe.networks import AnyNetwork, Card, LoadedNetwork
from segpipe.training.annotated import Annotated, read_annotated
from segpipe.training.comparing import compare
from segpipe.training.finding import answer_image
from segpipe.training.pretrained import decoding_of_start
from segpipe.training.recipe import Recipe
from segpipe.training.run import Run
from segpipe.training.selecting import evenly_spread, select_samples

SHOWN = ("dice", "aji", "pq", "f1_det")


def dev_images(recipe: Recipe) -> tuple[Annotated, ...]:
    """Read the dev images a recipe is scored on, evenly spread; none if it isn't.

    Raises
    ------
    DatasetError
        If there is no dev image, or one won't do.
    """
    if recipe.evaluate_every == 0:
        return ()
    names = {one.name for one in recipe.sets}
    samples = select_samples(recipe.manifest, "dev", recipe, only=names)
    chosen = evenly_spread(samples, recipe.evaluate_images)
    return tuple(read_annotated(sample) for sample in chosen)


def dev_scores(
    run: Run, recipe: Recipe, chosen: AnyNetwork, images: Sequence[Annotated]
) -> dict[str, float]:
    """Return mean scores over images of the averaged weights, as they are decoded."""
    loaded = LoadedNetwork(
        network=chosen,
        module=deepcopy(run.average).eval().requires_grad_(requires_grad=False),
        card=Card(
            name=recipe.name,
            network=recipe.network,
            sha256="",
            mpp=chosen.mpp,
            types=recipe.types,
        ),
        decoding=chosen.decoding(**decoding_of_start(recipe.starts_from)),
        device=run.device,
    )
    rows = [_scores(loaded, image) for image in images]
    return {name: mean_score([row[name] for row in rows]) for name in SHOWN}


def _scores(loaded: LoadedNetwork, image: Annotated) -> dict[str, float]:
    found = answer_image(loaded, image).decode(loaded.decoding)
    return dict(scores(compare(image, found.labels).counts))
