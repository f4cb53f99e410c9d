"""Checkpoints: a training run's whole state in one file, replaced atomically."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from segpipe.errors import WeightsError
from segpipe.stores.durable import replacing

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
    _refuse_other(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        message = f"{path} can't be read as a checkpoint: {error}"
        raise WeightsError(message) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        message = f"{path} is no checkpoint of format {FORMAT}."
        raise WeightsError(message)
    return state


def _refuse_other(path: Path) -> None:
    """Refuse whatever is not the zip archive that ``torch.save`` writes."""
    if not zipfile.is_zipfile(path):
        message = f"{path} can't be read as a checkpoint: it is missing or damaged."
        raise WeightsError(message)
