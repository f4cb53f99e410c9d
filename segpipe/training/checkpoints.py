"""Checkpoints: a training run's whole state in one file, replaced atomically."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segpipe.errors import WeightsError
from segpipe.stores.durable import replacing
from segpipe.training.recipe import Recipe
from segpipe.training.torch_files import read_torch_file

FORMAT = 1
CHECKPOINT = "checkpoint.pt"
"""Name of the file in the folder of a run."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; a reader sees the old file or the new one."""
    with replacing(path) as part:
        torch.save({"format": FORMAT, **state}, part)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything that is in it.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, holds objects, or is of another format.
    """
    state = read_torch_file(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        message = f"{path} is no checkpoint of format {FORMAT}."
        raise WeightsError(message)
    return state


class Averaged(NamedTuple):
    """The weights of a checkpoint that ship, and where they come from."""

    recipe: Recipe
    step: int
    weights: Mapping[str, Tensor]


def read_average(path: Path) -> Averaged:
    """Read the averaged weights of a training run's checkpoint.

    Raises
    ------
    WeightsError
        If the file won't do.
    """
    state = load_checkpoint(path)
    try:
        recipe = Recipe.model_validate_json(state["recipe"])
        return Averaged(recipe, int(state["step"]), state["average"])
    except (KeyError, ValueError) as error:
        message = f"{path} is no checkpoint of a training run: {error}"
        raise WeightsError(message) from error
