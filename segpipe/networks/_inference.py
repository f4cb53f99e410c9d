"""Running a loaded network: windows in, quantised maps out, whatever the batch.

Results depend on the pixels of a window only. A batch always has the same shape, short
ones are padded, so neither the number nor the order of windows can change a bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segpipe.arrays import Maps, Planes
from segpipe.errors import MapsInvalid, ShapeMismatch
from segpipe.geometry import Box
from segpipe.mirroring import mirrored
from segpipe.networks._layers import centred
from segpipe.networks._loading import LoadedNetwork
from segpipe.networks._network import Activation, Head
from segpipe.tiling.grid import TileGrid

CPU_BATCH = 1
"""A window keeps a core busy; more only take memory."""
GPU_BATCH = 8

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda raw: torch.softmax(raw, dim=1),
    "clip": lambda raw: raw.clamp(-1, 1),
}


def predict_windows(loaded: LoadedNetwork, planes: NDArray[np.uint8]) -> Maps:
    """Predict the cores of some windows.

    Parameters
    ----------
    loaded
        The network.
    planes : (B, 3, input_px, input_px) uint8
        Windows with their margins.

    Returns
    -------
    Maps
        By head name, (B, output_px, output_px) or, for several channels,
        (B, C, output_px, output_px); quantised as the head says.

    Raises
    ------
    ShapeMismatch
        If the windows are not of the network's size.
    MapsInvalid
        If the network's answer is no number somewhere.
    """
    side = loaded.network.window.input_px
    if planes.ndim != 4 or planes.shape[1:] != (3, side, side):
        message = (
            f"{loaded.network.name} takes windows of (B, 3, {side}, {side}); "
            f"these are {planes.shape}."
        )
        raise ShapeMismatch(message)
    size = GPU_BATCH if loaded.device.type == "cuda" else CPU_BATCH
    parts = [
        _predict_batch(loaded, planes[at : at + size], size)
        for at in range(0, max(len(planes), 1), size)
    ]
    return {
        head.name: np.concatenate([part[index] for part in parts])
        for index, head in enumerate(loaded.heads)
    }


def _predict_batch(
    loaded: LoadedNetwork, planes: NDArray[np.uint8], size: int
) -> list[NDArray[Any]]:
    """Predict up to ``size`` windows as a batch of ``size``; halve it on no memory."""
    padded = np.zeros((size, *planes.shape[1:]), np.uint8)
    padded[: len(planes)] = planes
    try:
        maps = _forward(loaded, padded)
    except torch.cuda.OutOfMemoryError:
        if size == 1:
            raise
        torch.cuda.empty_cache()
        half = size // 2
        parts = [
            _predict_batch(loaded, padded[at : at + half], half) for at in (0, half)
        ]
        maps = [np.concatenate(pair) for pair in zip(*parts, strict=True)]
    return [values[: len(planes)] for values in maps]


@torch.inference_mode()
def _forward(loaded: LoadedNetwork, planes: NDArray[np.uint8]) -> list[NDArray[Any]]:
    device = loaded.device
    batch = torch.from_numpy(planes).to(device).float()
    batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, enabled=device.type == "cuda"):
        outputs = loaded.module(batch)
    core = (loaded.network.window.output_px,) * 2
    return [
        quantise(head, activate(head, centred(raw, core).float()))
        for head, raw in zip(loaded.heads, outputs, strict=True)
    ]


def activate(head: Head, raw: Tensor) -> Tensor:
    """Return (B, C, h, w) raw output of a head in its range, [0, 1] or [-1, 1]."""
    return _ACTIVATIONS[head.activation](raw)


def quantise(head: Head, values: Tensor) -> NDArray[Any]:
    """Return (B, C, h, w) activated values as they are stored; one channel is dropped.

    Rounds halves to even.

    Raises
    ------
    MapsInvalid
        If a value is no number, which would be stored as 0: as if nothing were there.
    """
    if (n_bad := int(values.isnan().sum())) > 0:
        message = (
            f"The network's map {head.name} is no number at {n_bad} of "
            f"{values.numel()} places. Its weights are damaged or unfit, or half "
            "precision overflowed on a GPU: check them with other weights, or by "
            "--device cpu."
        )
        raise MapsInvalid(message)
    whole = (values * (255 if head.dtype == "uint8" else 127)).round()
    stored: NDArray[Any] = whole.to(getattr(torch, head.dtype)).cpu().numpy()
    return stored[:, 0] if head.n_channels == 1 else stored


def predict_planes(loaded: LoadedNetwork, planes: Planes) -> Maps:
    """Predict a whole image in memory, window by window on the lattice at its corner.

    Parameters
    ----------
    loaded
        The network.
    planes : (3, Y, X) uint8
        At the network's mpp. What lies outside is mirrored.

    Returns
    -------
    Maps
        By head name, (Y, X) or (C, Y, X).
    """
    whole = Box.of_shape((planes.shape[1], planes.shape[2]))
    window = loaded.network.window
    lattice = TileGrid(shape=whole.shape, tile_px=window.output_px)
    maps = {head.name: _empty(head, whole.shape) for head in loaded.heads}
    for index in range(len(lattice)):
        box = window.input_box(lattice.core(index))
        inside = box.intersection(whole)
        rows, cols = inside.slices()
        fed = mirrored(planes[:, rows, cols], inside, box)
        core = lattice.core(index)
        for name, predicted in predict_windows(loaded, fed[None]).items():
            kept = predicted[0, ..., : core.height, : core.width]
            maps[name][(..., *core.slices())] = kept
    return maps


def _empty(head: Head, shape: tuple[int, int]) -> NDArray[Any]:
    leading = (head.n_channels,) if head.n_channels > 1 else ()
    return np.zeros((*leading, *shape), head.dtype)
