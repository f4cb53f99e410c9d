"""From a checkpoint to weights that ship: safetensors with a card beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from segpipe.networks import Card, card_of, network
from segpipe.networks._weights import fill, write_weights
from segpipe.stores.durable import write_text
from segpipe.training.checkpoints import read_average
from segpipe.training.pretrained import decoding_of_start


def export_weights(checkpoint: Path, out: Path) -> Path:
    """Write a checkpoint's averaged weights and their card.

    Parameters
    ----------
    checkpoint
        Of a training run.
    out
        Folder; made if missing.

    Returns
    -------
    Path
        ``out/<recipe's name>.safetensors``.

    Raises
    ------
    WeightsError
        If the checkpoint is damaged, or its weights are no finite numbers.
    """
    recipe, step, average = read_average(checkpoint)
    chosen = network(recipe.network)
    module = chosen.build(len(recipe.types))
    fill(module, average, str(checkpoint))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{recipe.name}.safetensors"
    card = Card(
        name=recipe.name,
        network=recipe.network,
        sha256=write_weights(module, path),
        mpp=chosen.mpp,
        types=recipe.types,
        licence=recipe.licence,
        data=recipe.data,
        decoding=decoding_of_start(recipe.starts_from),
        recipe=f"{recipe.name}, seed {recipe.seed}, {step} steps",
    )
    write_text(path.with_suffix(".toml"), card.to_toml())
    return path


def annotate_card(
    weights: Path,
    *,
    decoding: Mapping[str, float] | None = None,
    scores: Mapping[str, Mapping[str, float]] | None = None,
) -> Card:
    """Write calibrated constants or scores into the card of exported weights.

    Scores are of the constants they were reached with: where other constants are given
    without scores, the card's go.
    """
    card = card_of(weights)
    if decoding is not None and decoding != card.decoding:
        card = replace(card, decoding=decoding, scores={})
    if scores is not None:
        card = replace(card, scores=scores)
    write_text(weights.with_suffix(".toml"), card.to_toml())
    return card
