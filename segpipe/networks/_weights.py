"""Weights on disk: safetensors only, checked before use, matrices in half precision."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from segpipe.errors import WeightsError
from segpipe.stores.durable import replacing

_COUNTER = "num_batches_tracked"
"""Batch norm counts batches; inference has no use for it."""
_PICKLE = (b"\x80", b"PK")
"""How pickles and torch's zip archives of pickles begin."""
_MAX_HALF = 60_000.0


def write_weights(module: nn.Module, path: Path) -> str:
    """Write a module's weights and return the sha256 of the file.

    Matrices go to half precision; biases and batch statistics, which are few, stay.
    """
    state = {name: _stored(value) for name, value in _needed(module).items()}
    content = to_safetensors(state)
    with replacing(path) as part:
        part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _stored(value: Tensor) -> Tensor:
    halves = value.ndim > 1 and bool(value.abs().max() < _MAX_HALF)
    return (
        value.detach().cpu().to(torch.float16 if halves else value.dtype).contiguous()
    )


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read a safetensors file whose hash is known.

    Parameters
    ----------
    path
        The file.
    sha256
        What its card says.

    Returns
    -------
    dict
        Float32 tensors by name.

    Raises
    ------
    WeightsError
        If the file is missing, a pickle, not the one the card describes, or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"No weights can be read at {path}: {error.strerror}."
        raise WeightsError(message) from error
    _refuse_pickle(path, content)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        message = (
            f"{path} is not the file its card describes: sha256 expected {sha256}, "
            f"found {found}. Fetch the weights again, or correct the card."
        )
        raise WeightsError(message)
    try:
        state = parse_safetensors(content)
    except SafetensorError as error:
        message = f"{path} is damaged or no safetensors file: {error}."
        raise WeightsError(message) from error
    return {name: value.float() for name, value in state.items()}


def _refuse_pickle(path: Path, content: bytes) -> None:
    """Say so if it is a pickle; one in 32 safetensors files begins like one.

    Behind the length of its header, 8 bytes, a safetensors file has a brace.
    """
    if content.startswith(_PICKLE) and content[8:9] != b"{":
        message = (
            f"{path} is a pickle, which can run code when read, and was not read. "
            "Weights are safetensors files; export a checkpoint first."
        )
        raise WeightsError(message)


def fill(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Put weights into a module.

    Raises
    ------
    WeightsError
        If a name or shape differs, or a value is no finite number.
    """
    needed = _needed(module)
    state = _without_counters(state)
    wrong = {
        "missing": sorted(needed.keys() - state.keys()),
        "foreign": sorted(state.keys() - needed.keys()),
        "of another shape": sorted(
            name
            for name in needed.keys() & state.keys()
            if needed[name].shape != state[name].shape
        ),
        "not finite": sorted(n for n, v in state.items() if not v.isfinite().all()),
    }
    faults = [
        f"{len(names)} tensors {what}, the first {names[0]}"
        for what, names in wrong.items()
        if names
    ]
    if faults:
        message = f"{source} doesn't fit the network: {'; '.join(faults)}."
        raise WeightsError(message)
    module.load_state_dict(dict(state), strict=False)


def _needed(module: nn.Module) -> dict[str, Tensor]:
    return _without_counters(module.state_dict())


def _without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: v for n, v in state.items() if not n.endswith(_COUNTER)}
