"""The command ``segpipe calibrate``; what is heavy is imported when it is called."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows import options
from flows.exits import exits

EXAMPLE = """
Example: `segpipe calibrate runs/mine/mine.safetensors --manifest data/manifest.csv
--split dev`

Changes the card beside the weights; the weights stay as they are.
"""


def calibrate(  # noqa: PLR0913 - each is an option
    weights: Annotated[
        Path,
        typer.Argument(metavar="WEIGHTS", help="The .safetensors file."),
    ],
    *,
    manifest: options.Manifest,
    split: options.Split = "dev",
    sets: options.Sets = None,
    recipe: options.RecipeOfSets = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Choose a network's decoding constants on dev images, and write its card."""
    with exits(debug=debug, as_json=as_json):
        from flows.learning import calibrate_on  # noqa: PLC0415
        from flows.scoreboard import show_calibration  # noqa: PLC0415
        from segpipe.training.scoring import Images  # noqa: PLC0415

        images = Images(manifest=manifest, split=split, sets=sets)
        found = calibrate_on(weights, images, device=device or "auto", recipe=recipe)
        if as_json:
            sys.stdout.write(json.dumps(asdict(found), indent=1) + "\n")
        else:
            show_calibration(found, weights)
