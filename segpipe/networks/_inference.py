"""Running a loaded network: windows in, maps or scored masks out, whatever the batch.

Results depend on the pixels of a window only. A batch always has the same shape, short
ones are padded, so neither the number nor the order of windows can change a bit. Where
a GPU has no memory for a batch, its halves are run: that may change last bits, as
another batch size may choose other kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segpipe.arrays import Maps, Planes
from segpipe.errors import ShapeMismatch
from segpipe.geometry import Box
from segpipe.labels.detections import Detections
from segpipe.mirroring import mirrored
from segpipe.networks._finite import check_finite
from segpipe.networks._layers import centred
from segpipe.networks._loading import LoadedNetwork
from segpipe.networks._network import Activation, Head, Outputs, Window, giving_masks
from segpipe.tiling.grid import TileGrid

Said = TypeVar("Said")

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
        If the network's answer is no finite number somewhere.
    SettingsError
        If it is a detector.
    """
    heads, side = loaded.heads, loaded.network.window.output_px

    def read(outputs: Outputs) -> list[list[NDArray[Any]]]:
        parts = [
            _stored(head, centred(raw, (side, side)).float())
            for head, raw in zip(heads, outputs, strict=True)
        ]
        return [list(window) for window in zip(*parts, strict=True)]

    windows = _answers(loaded, planes, read)
    return {
        head.name: np.stack([window[index] for window in windows])
        if windows
        else _empty(head, (side, side))[None][:0]
        for index, head in enumerate(heads)
    }


def detect_windows(
    loaded: LoadedNetwork,
    planes: NDArray[np.uint8],
    decoding: Any,  # noqa: ANN401 - each network's own dataclass
) -> list[Detections]:
    """Detect the nuclei of some windows.

    Parameters
    ----------
    loaded
        The detector.
    planes : (B, 3, input_px, input_px) uint8
        Windows with their margins.
    decoding
        Its constants.

    Returns
    -------
    list of Detections
        One a window, in pixels of its input, best first.

    Raises
    ------
    ShapeMismatch
        If the windows are not of the network's size.
    MapsInvalid
        If the network's answer is no finite number somewhere.
    SettingsError
        If the network gives maps.
    """
    network = giving_masks(loaded.network)

    def read(outputs: Outputs) -> list[Detections]:
        whole = tuple(check_finite(raw.float(), "output") for raw in outputs)
        return network.detect(loaded.module, whole, decoding)

    return _answers(loaded, planes, read)


def _answers(
    loaded: LoadedNetwork,
    planes: NDArray[np.uint8],
    read: Callable[[Outputs], list[Said]],
) -> list[Said]:
    """Run the network on windows in batches; return what is read out, one a window."""
    side = loaded.network.window.input_px
    if planes.ndim != 4 or planes.shape[1:] != (3, side, side):
        message = (
            f"{loaded.network.name} takes windows of (B, 3, {side}, {side}); "
            f"these are {planes.shape}."
        )
        raise ShapeMismatch(message)
    size = GPU_BATCH if loaded.device.type == "cuda" else CPU_BATCH
    return [
        said
        for at in range(0, len(planes), size)
        for said in _answer_batch(loaded, planes[at : at + size], size, read)
    ]


def _answer_batch(
    loaded: LoadedNetwork,
    planes: NDArray[np.uint8],
    size: int,
    read: Callable[[Outputs], list[Said]],
) -> list[Said]:
    """Run up to ``size`` windows as a batch of ``size``; halve it on no memory.

    The halves are run when the error is forgotten: as long as it is handled, it keeps
    what was on the device alive.
    """
    padded = np.zeros((size, *planes.shape[1:]), np.uint8)
    padded[: len(planes)] = planes
    try:
        return _forward(loaded, padded, read)[: len(planes)]
    except torch.cuda.OutOfMemoryError:
        if size == 1:
            raise
    torch.cuda.empty_cache()
    half = size // 2
    said = [
        one
        for at in (0, half)
        for one in _answer_batch(loaded, padded[at : at + half], half, read)
    ]
    return said[: len(planes)]


@torch.inference_mode()
def _forward(
    loaded: LoadedNetwork,
    planes: NDArray[np.uint8],
    read: Callable[[Outputs], list[Said]],
) -> list[Said]:
    device = loaded.device
    batch = torch.from_numpy(planes).to(device).float()
    batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, enabled=device.type == "cuda"):
        outputs = loaded.module(batch)
    return read(outputs)


def _stored(head: Head, raw: Tensor) -> NDArray[Any]:
    """Return (B, C, h, w) raw output of a head as it is stored.

    Raises
    ------
    MapsInvalid
        If a value is no finite number.
    """
    return quantise(head, activate(head, check_finite(raw, f"map {head.name}")))


def activate(head: Head, raw: Tensor) -> Tensor:
    """Return (B, C, h, w) raw output of a head in its range, [0, 1] or [-1, 1]."""
    return _ACTIVATIONS[head.activation](raw)


def quantise(head: Head, values: Tensor) -> NDArray[Any]:
    """Return (B, C, h, w) activated values as they are stored; one channel is dropped.

    Rounds halves to even.
    """
    scale = 255 if head.dtype == "uint8" else 127
    whole = (values * scale).round()
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
    shape = (planes.shape[1], planes.shape[2])
    maps = {head.name: _empty(head, shape) for head in loaded.heads}
    for _, core, fed in windows_of(planes, loaded.network.window):
        for name, predicted in predict_windows(loaded, fed[None]).items():
            kept = predicted[0, ..., : core.height, : core.width]
            maps[name][(..., *core.slices())] = kept
    return maps


def windows_of(
    planes: Planes, window: Window
) -> Iterator[tuple[int, Box, NDArray[np.uint8]]]:
    """Cut an image into windows on the lattice at its corner.

    Parameters
    ----------
    planes : (3, Y, X) uint8
        The image. What lies outside is mirrored.
    window
        The network's.

    Yields
    ------
    index, core, fed
        Index on the lattice, core, and what is fed, (3, input_px, input_px).
    """
    whole = Box.of_shape((planes.shape[1], planes.shape[2]))
    lattice = TileGrid(shape=whole.shape, tile_px=window.output_px)
    for index in range(len(lattice)):
        core = lattice.core(index)
        box = window.input_box(core)
        inside = box.intersection(whole)
        rows, cols = inside.slices()
        yield index, core, mirrored(planes[:, rows, cols], inside, box)


def _empty(head: Head, shape: tuple[int, int]) -> NDArray[Any]:
    leading = (head.n_channels,) if head.n_channels > 1 else ()
    return np.zeros((*leading, *shape), head.dtype)
