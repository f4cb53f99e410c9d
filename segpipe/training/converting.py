"""From others' checkpoints to weights that run: safetensors with a card beside them.

Any state dict that fits one of the networks will do, HoVer-Net's official ones first of
all: ``.tar`` files with the state dict under ``desc``, from one GPU or several.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segpipe.errors import SettingsError, WeightsError
from segpipe.networks import Card, Described, network, networks
from segpipe.networks._weights import fill, write_weights

ENTRIES = ("desc", "state_dict")
"""Where a checkpoint may keep its state dict: HoVer-Net's authors, others."""
PREFIX = "module."
"""What ``DataParallel`` puts before every name."""


def convert_checkpoint(checkpoint: Path, out: Path, card: Card) -> Path:
    """Write the weights of a checkpoint and their card.

    Parameters
    ----------
    checkpoint
        Written by ``torch.save``: a state dict, or a dict with one as an entry.
    out
        Folder; made if missing.
    card
        What is known of the weights. Its ``sha256`` and ``recipe`` are filled in.

    Returns
    -------
    Path
        ``out/<card's name>.safetensors``.

    Raises
    ------
    WeightsError
        If the checkpoint is missing or damaged, holds objects, doesn't fit the network,
        or has values that are no finite numbers.
    SettingsError
        If the card names another number of types than the checkpoint tells apart, or
        its name or mpp won't do.
    """
    _check(card)
    chosen = network(card.network)
    state = state_of(checkpoint)
    n_types = n_types_of(chosen, state)
    module = chosen.build(n_types)
    try:
        fill(module, state, str(checkpoint))
    except WeightsError as error:
        message = f"{error} {_advice(chosen, state)}".strip()
        raise WeightsError(message) from error
    _check_types(card.types, n_types, checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{card.name}.safetensors"
    source = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    card = replace(
        card,
        sha256=write_weights(module, path),
        recipe=f"converted from {checkpoint.name}, sha256 {source}",
    )
    path.with_suffix(".toml").write_text(card.to_toml(), encoding="utf-8")
    return path


def state_of(checkpoint: Path) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint without running anything that is in it.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, or holds anything but tensors by name.
    """
    found = _read(checkpoint)
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


def _read(checkpoint: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused anyhow
            return torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        message = (
            f"{checkpoint} holds more than weights, objects that can run code when "
            "read, and was not read; or it is no file of torch.save. Save the state "
            "dict alone, torch.save(net.state_dict(), ...), where you trust the file."
        )
        raise WeightsError(message) from error
    except OSError as error:
        message = f"No checkpoint can be read at {checkpoint}: {error.strerror}."
        raise WeightsError(message) from error
    except (RuntimeError, EOFError, ValueError, LookupError) as error:
        message = f"{checkpoint} is damaged, or no file of torch.save."
        raise WeightsError(message) from error


def n_types_of(chosen: Described, state: Mapping[str, Tensor]) -> int:
    """Return for how many nucleus types a network was built, from its state dict.

    Reads it off the first tensor whose shape depends on that number; 0 if none is
    there.
    """
    one, two = (_shapes(chosen.name, n_types) for n_types in (1, 2))
    for name in one.keys() & state.keys():
        for axis, (at_one, at_two) in enumerate(zip(one[name], two[name], strict=True)):
            if at_one != at_two and state[name].ndim == len(one[name]):
                found = state[name].shape[axis]
                return max(0, 1 + (found - at_one) // (at_two - at_one))
    return 0


@cache
def _shapes(name: str, n_types: int) -> Mapping[str, torch.Size]:
    """Return the shapes of a network's tensors without making them."""
    with torch.device("meta"):
        return _shapes_in(network(name).build(n_types).state_dict())


def _shapes_in(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Return the shapes by name, without batch norms' counters, which have none."""
    return {name: value.shape for name, value in state.items() if value.ndim}


def _advice(chosen: Described, state: Mapping[str, Tensor]) -> str:
    """Say which network these weights do fit; nothing if it is the chosen one."""
    found = _shapes_in(state)
    fitting = [
        name
        for name, one in networks().items()
        if _shapes(name, n_types_of(one, state)) == found
    ]
    if chosen.name in fitting:
        return ""
    if fitting:
        return f"Its names and shapes are those of {' and '.join(fitting)}."
    return f"Nor does it fit another of {', '.join(networks())}."


def _check(card: Card) -> None:
    if Path(card.name).name != card.name:
        message = f"Weights can't be named {card.name!r}: it must serve as a file name."
        raise SettingsError(message)
    if not (math.isfinite(card.mpp) and card.mpp > 0):
        message = f"Weights can't be for {card.mpp} micrometres per pixel."
        raise SettingsError(message)
    if len(set(card.types)) < len(card.types) or not all(card.types):
        message = f"Types must have names, each its own; these are {card.types}."
        raise SettingsError(message)


def _check_types(named: Sequence[str], n_types: int, checkpoint: Path) -> None:
    if len(named) != n_types:
        message = (
            f"{checkpoint} tells {n_types} nucleus types apart, but {len(named)} are "
            "named. Name them all with --types, in the order of its outputs, without "
            "background; none, if there are none."
        )
        raise SettingsError(message)
