"""From others' checkpoints to weights that run: safetensors with a card beside them.

Any state dict that fits one of the networks will do, HoVer-Net's official ones first of
all: ``.tar`` files with the state dict under ``desc``, from one GPU or several.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from segpipe.errors import SettingsError, WeightsError
from segpipe.networks import Card, Described, network, networks
from segpipe.networks._weights import fill, write_weights
from segpipe.stores.durable import write_text
from segpipe.training.shapes import n_types_of, shapes, shapes_in
from segpipe.training.torch_files import state_of


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
    n_types = n_types_of(chosen.name, state, n_named=len(card.types))
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
    write_text(path.with_suffix(".toml"), card.to_toml())
    return path


def _advice(chosen: Described, state: Mapping[str, Tensor]) -> str:
    """Say which network these weights do fit; nothing if it is the chosen one."""
    found = shapes_in(state)
    fitting = [
        name for name in networks() if shapes(name, n_types_of(name, state)) == found
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
