"""From a name or a weights file to a network that is ready to predict."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segpipe.errors import SettingsError, WeightsError
from segpipe.networks._card import Card, card_of
from segpipe.networks._layers import fuse_conv_bn
from segpipe.networks._network import AnyNetwork, Head, giving_maps
from segpipe.networks._registry import network
from segpipe.networks._weights import fill, read_weights

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the weights that ship."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedNetwork:
    """A network with weights, on a device, in evaluation mode."""

    network: AnyNetwork
    module: nn.Module
    card: Card
    decoding: Any
    """The network's decoder constants as the card sets them."""
    device: torch.device

    @property
    def n_types(self) -> int:
        """Nucleus types that the weights tell apart; 0 if none."""
        return len(self.card.types)

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads of a network that gives maps, in the order of its outputs."""
        return giving_maps(self.network).heads(self.n_types)


def weights_file(name: str) -> Path:
    """Return the shipped weights of a network.

    Raises
    ------
    UnknownNetwork
        If there is no such network.
    WeightsError
        If no weights ship for it.
    """
    path = WEIGHTS / f"{network(name).name.replace(':', '-')}.safetensors"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.safetensors")))
        message = (
            f"No weights ship for the network {name}, only for: {shipped or 'none'}. "
            "Give a weights file instead."
        )
        raise WeightsError(message)
    return path


def weights_path(name_or_weights: str | Path) -> Path:
    """Return the weights file that a name (shipped weights) or a path means.

    Raises
    ------
    UnknownNetwork, WeightsError
        As ``weights_file``, if it is a name.
    """
    path = Path(name_or_weights)
    is_path = isinstance(name_or_weights, Path) or path.suffix or len(path.parts) > 1
    return path if is_path else weights_file(str(name_or_weights))


def load(
    name_or_weights: str | Path, *, device: torch.device | str = "cpu"
) -> LoadedNetwork:
    """Load a network by name, with the weights that ship, or by its weights file.

    Parameters
    ----------
    name_or_weights
        Name of a network, or path of a ``.safetensors`` file with its card beside it.
    device
        Where it will run.

    Raises
    ------
    UnknownNetwork
        If the name, or the network the card names, is not known.
    WeightsError
        If weights or card are missing, damaged, unsafe or of another network.
    """
    path = weights_path(name_or_weights)
    card = card_of(path)
    chosen = network(card.network)
    state = read_weights(path, card.sha256)
    module = chosen.build(len(card.types))
    fill(module, state, str(path))
    return LoadedNetwork(
        network=chosen,
        module=_ready(module, torch.device(device)),
        card=card,
        decoding=_decoding(chosen, card, path),
        device=torch.device(device),
    )


@lru_cache(maxsize=1)
def cached_network(weights: str, sha256: str, device: str) -> LoadedNetwork:
    """Load once per process; ``sha256`` makes a changed file another network.

    Raises
    ------
    WeightsError
        If the file is no longer the one with this hash.
    """
    loaded = load(Path(weights), device=device)
    if loaded.card.sha256 != sha256:
        message = (
            f"{weights} has changed since the plan was made: sha256 expected {sha256}, "
            f"found {loaded.card.sha256}. Plan again."
        )
        raise WeightsError(message)
    return loaded


def _ready(module: nn.Module, device: torch.device) -> nn.Module:
    """Fuse batch norms and lay the weights out as the device likes them."""
    module = fuse_conv_bn(module.eval()).requires_grad_(requires_grad=False)
    return module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _decoding(chosen: AnyNetwork, card: Card, path: Path) -> Any:  # noqa: ANN401 - each network's own dataclass
    """Return the decoder's constants as the card sets them.

    Raises
    ------
    WeightsError
        If there is no such constant, or its decoder can't work with a value.
    """
    known = [field.name for field in fields(chosen.decoding)]
    unknown = [name for name in card.decoding if name not in known]
    if unknown:
        message = (
            f"The card of {path} sets decoder constants that don't exist: "
            f"{', '.join(unknown)}. {chosen.name} has {', '.join(known)}."
        )
        raise WeightsError(message)
    try:
        return chosen.decoding(**card.decoding)
    except SettingsError as error:
        message = f"The card of {path} sets a decoder constant that won't do: {error}"
        raise WeightsError(message) from error
