"""The command ``segpipe evaluate``; what is heavy is imported when it is called."""

from __future__ import annotations

import json
import sys

from flows import options
from flows.exits import exits

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
    tta: options.TestTime = "none",
    out: options.Scores,
    device: options.Device = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Score a network, or label maps made elsewhere, on annotated images."""
    with exits(debug=debug, as_json=as_json):
        from flows.learning import evaluate_on  # noqa: PLC0415
        from flows.scoreboard import show_scores  # noqa: PLC0415
        from segpipe.training.scoring import Images  # noqa: PLC0415

        metrics = evaluate_on(
            options.one_of(labels=labels, weights=weights, network=network),
            Images(manifest=manifest, split=split, sets=sets),
            out,
            device=device or "auto",
            recipe=recipe,
            test_time=tta,
        )
        if as_json:
            sys.stdout.write(json.dumps(metrics, indent=1) + "\n")
        else:
            show_scores(metrics, out)
