"""Files of ``torch.save``, read without running anything that is in them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segpipe.errors import WeightsError

ENTRIES = ("desc", "state_dict")
"""Where a checkpoint may keep its state dict: HoVer-Net's authors, others."""
PREFIX = "module."
"""What ``DataParallel`` puts before every name."""


def read_torch_file(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read tensors and plain values onto the CPU.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, or holds objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused anyhow
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        message = (
            f"{path} holds more than weights, objects that can run code when read, and "
            "was not read; or it is no file of torch.save. Save the state dict alone, "
            "torch.save(net.state_dict(), ...), where you trust the file."
        )
        raise WeightsError(message) from error
    except OSError as error:
        message = f"Nothing can be read at {path}: {error.strerror or error}."
        raise WeightsError(message) from error
    except Exception as error:  # a damaged file may bring about any
        message = (
            f"{path} is damaged, or no file of torch.save: {type(error).__name__}, "
            f"{error}. Fetch it again."
        )
        raise WeightsError(message) from error


def state_of(checkpoint: Path) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint.

    Parameters
    ----------
    checkpoint
        Holds a state dict, or a dict with one as an entry.

    Returns
    -------
    dict
        Float32 tensors by name.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, or holds anything but tensors by name.
    """
    found = read_torch_file(checkpoint)
    entries = [name for name in ENTRIES if isinstance(found, dict) and name in found]
    state = found[entries[0]] if entries else found
    if not isinstance(state, Mapping) or not state:
        message = f"{checkpoint} holds {type(state).__name__}, not weights by name."
        raise WeightsError(message)
    strange = [
        name
        for name, value in state.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if strange:
        message = (
            f"{checkpoint} holds other things than weights: {len(strange)} of "
            f"{len(state)} entries, the first {strange[0]!r}. The weights are looked "
            f"for under {' or '.join(ENTRIES)}, or must be all there is."
        )
        raise WeightsError(message)
    prefix = PREFIX if all(name.startswith(PREFIX) for name in state) else ""
    return {name.removeprefix(prefix): value.float() for name, value in state.items()}
