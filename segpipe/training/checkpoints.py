"""Checkpoints: a training run's whole state in one file, replaced atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from segpipe.errors import WeightsError
from segpipe.stores.durable import replacing
from segpipe.training.torch_files import read_torch_file

FORMAT = 1


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
