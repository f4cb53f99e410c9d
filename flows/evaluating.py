"""The command ``segpipe evaluate``; what is heavy is imported when it is called."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from flows import options
from flows.exits import exits
from segpipe.errors import SettingsError

EXAMPLES = """
Examples:

`segpipe evaluate --manifest data/manifest.csv --split dev --set tnbc --out scores`

`segpipe evaluate --labels other-tool/ --manifest data/manifest.csv --out scores`

Writes metrics.json, images.parquet (a row per image), curves.parquet and
evaluation.html.
"""


def evaluate(  # noqa: PLR0913 - each is an option
    *,
    network: options.Network = None,
    weights: options.Weights = None,
    labels: options.FoundLabels = None,
    manifest: options.Manifest,
    split: options.Split = "test",
    sets: options.Sets = None,
    recipe: options.RecipeOfSets = None,
    tta: options.TestTime = None,
    out: options.Scores,
    device: options.Device = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Score a network, or label maps made elsewhere, on annotated images."""
    with exits(debug=debug, as_json=as_json):
        from flows.learning import evaluate_labels_on, evaluate_on  # noqa: PLC0415
        from flows.scoreboard import show_scores  # noqa: PLC0415
        from segpipe.training.scoring import Images  # noqa: PLC0415

        _refuse_several(labels=labels, weights=weights, network=network)
        images = Images(manifest=manifest, split=split, sets=sets)
        if labels is not None:
            _refuse_beside_labels(tta=tta, device=device)
            metrics = evaluate_labels_on(labels, images, out, recipe=recipe)
        else:
            metrics = evaluate_on(
                weights or network or "hoverlite",
                images,
                out,
                device=device or "auto",
                recipe=recipe,
                test_time=tta or "none",
            )
        if as_json:
            sys.stdout.write(json.dumps(metrics, indent=1) + "\n")
        else:
            show_scores(metrics, out)


def _refuse_several(**chosen: str | Path | None) -> None:
    """Refuse options of which only one may be given.

    Raises
    ------
    SettingsError
        If several are.
    """
    if len(given := _given(chosen)) > 1:
        message = f"{' and '.join(given)} exclude each other; give one."
        raise SettingsError(message)


def _refuse_beside_labels(**chosen: str | Path | None) -> None:
    """Refuse options of a network where label maps are scored, and none is run.

    Raises
    ------
    SettingsError
        If one of them is given.
    """
    if given := _given(chosen):
        message = (
            "--labels scores label maps as they are and runs no network; leave out "
            f"{' and '.join(given)}."
        )
        raise SettingsError(message)


def _given(chosen: Mapping[str, object]) -> list[str]:
    """Return how those that are given are written."""
    return [f"--{name}" for name, value in chosen.items() if value is not None]
