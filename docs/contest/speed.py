"""Seconds, operations and parameters of networks, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from contest import TILES
from segpipe.arrays import Planes, to_planes
from segpipe.networks import (
    AnyNetwork,
    Card,
    Detector,
    LoadedNetwork,
    answer,
    load,
    network,
)
from segpipe.networks._inference import CPU_BATCH, GPU_BATCH, windows_of
from segpipe.networks._weights import write_weights

TILE_MPP = 0.25
SIDES: Mapping[str, int] = {"cpu": 1, "cuda": 4}
"""Windows a side of the timed square, none of them cut off; a GPU takes eight."""
ROUNDS = 4
"""Each network is timed so often, all in turns; the fastest time counts."""
LONGEST_S = 30.0
"""Who has taken longer is not timed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """Who is timed."""

    loaded: LoadedNetwork
    trained: bool
    """If not, only its module is timed: decoding noise says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Seconds that a megapixel of the network's own resolution takes."""

    forward_s: float
    """Of the module alone."""
    rest_s: float | None
    """From its outputs to the label map; None of an untrained network."""


def size_of(chosen: AnyNetwork) -> dict[str, float]:
    """Return parameters, and operations of the dense pass per pixel of the output.

    A multiplication and an addition are two operations; only those of convolutions and
    matrices count. Both are of the untyped network.
    """
    with torch.device("meta"):
        module = chosen.build(0).eval()
        fed = torch.zeros(1, 3, chosen.window.input_px, chosen.window.input_px)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(fed)
    n_parameters = sum(one.numel() for one in module.parameters())
    per_px = counter.get_total_flops() / chosen.window.output_px**2
    return {
        "parameters_m": short(n_parameters / 1e6),
        "mflop_px": short(per_px / 1e6),
        "mpp": chosen.mpp,
    }


def fresh(name: str, *, device: str) -> LoadedNetwork:
    """Return a network with random weights, made ready as trained ones are."""
    chosen = network(name)
    torch.manual_seed(1)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "fresh.safetensors"
        sha256 = write_weights(chosen.build(0), weights)
        card = Card(name=name, network=name, sha256=sha256, mpp=chosen.mpp)
        weights.with_suffix(".toml").write_text(card.to_toml(), encoding="utf-8")
        return load(weights, device=device)


def timed(entrants: Mapping[str, Entrant]) -> dict[str, Timed]:
    """Time networks in turns, in this process, and keep the best of each."""
    forward_s: dict[str, list[float]] = {name: [] for name in entrants}
    rest_s: dict[str, list[float]] = {name: [] for name in entrants}
    spent_s = dict.fromkeys(entrants, 0.0)
    for _ in range(ROUNDS):
        for name, one in entrants.items():
            if spent_s[name] > LONGEST_S:
                continue
            start, planes = time.perf_counter(), square_for(one.loaded)
            mpx = planes.shape[1] * planes.shape[2] / 1e6
            own_s = _forward_s(one.loaded, planes)
            forward_s[name].append(own_s / mpx)
            if one.trained:
                rest_s[name].append(_rest_s(one.loaded, planes, own_s) / mpx)
            spent_s[name] += time.perf_counter() - start
    return {
        name: Timed(
            forward_s=min(forward_s[name]), rest_s=min(rest_s[name], default=None)
        )
        for name in entrants
    }


def square_for(loaded: LoadedNetwork) -> Planes:
    """Return tissue of whole windows: an annotated tile, mirrored on and on."""
    rgb = cv2.imread(str(TILES / "09_1.jpg"), cv2.IMREAD_COLOR_RGB)
    zoom = TILE_MPP / loaded.network.mpp
    scaled = cv2.resize(rgb, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    side = SIDES[loaded.device.type] * loaded.network.window.output_px
    around = ((0, side), (0, side), (0, 0))
    return to_planes(np.pad(scaled, around, "symmetric")[:side, :side])


def _forward_s(loaded: LoadedNetwork, planes: Planes) -> float:
    on_gpu = loaded.device.type == "cuda"
    size = GPU_BATCH if on_gpu else CPU_BATCH
    fed = np.stack([fed for _, _, fed in windows_of(planes, loaded.network.window)])
    batches = [
        torch.from_numpy(fed[at : at + size])
        .to(loaded.device)
        .float()
        .contiguous(memory_format=torch.channels_last)
        for at in range(0, len(fed), size)
    ]

    def run() -> None:
        with torch.inference_mode(), torch.autocast(loaded.device.type, enabled=on_gpu):
            for batch in batches:
                loaded.module(batch)

    return _seconds(run, loaded.device)


def _rest_s(loaded: LoadedNetwork, planes: Planes, forward_s: float) -> float:
    """Return the seconds that decoding takes; a detector's has the forward pass in."""
    said = answer(loaded, planes)

    def run() -> None:
        said.decode(loaded.decoding)

    whole_s = _seconds(run, loaded.device)
    is_detector = isinstance(loaded.network, Detector)
    return max(whole_s - forward_s, 0.0) if is_detector else whole_s


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    """Return the seconds of a call: of this process on a CPU, of the clock on a GPU."""
    if device.type == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def short(value: float) -> float:
    """Return a number with three digits."""
    return float(f"{value:.3g}")
