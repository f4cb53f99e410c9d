"""HoVer-Net as published: one encoder, and a dense decoder branch per question.

A preactivated ResNet-50 that starts at full resolution, and branches for nuclear pixels
(``np``), horizontal and vertical offsets (``hv``) and types (``tp``), at 0.25
micrometres per pixel. In two builds: ``fast`` (256 to 164 pixels), and ``original``
(270 to 80), whose branches convolve 5 x 5 instead of 3 x 3 pixels. Modules bear the
names of the authors' PyTorch weights, so these load as they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from segpipe.decoding.hv import QuarterMicronDecoding
from segpipe.errors import ShapeMismatch, UnknownNetwork
from segpipe.networks import _hv
from segpipe.networks._hovernet_losses import loss
from segpipe.networks._layers import centred
from segpipe.networks._network import Network, Window

Mode = Literal["fast", "original"]

STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
"""Units, width and stride of the encoder's stages; each gives 4 x width channels."""
BOTTOM = 1024
"""Channels between encoder and branches."""
GROWTH = 32
"""Channels that each unit of a dense block appends."""
GROUPS = 4
"""Groups of its spatial convolution."""
EDGE_PX = 104
"""Outputs at least so far from the input's edge don't feel it, in the fast mode: the
branches' margin, and the sight of the encoder, which pads with zeros."""
WINDOW = Window(input_px=640, output_px=544)
"""Two pixels less than the output on each side: the last convolution pads, too, and
spoils its rim. Why 640: MFLOP per output pixel with five types, microseconds on one
core without, and the memory of a forward pass were 11.1, 148 and 0.2 GB at 256 px, 7.6,
115 and 0.9 GB at 512, 7.2, 103 and 1.4 GB at 640, 6.6, 109 and 3.4 GB at 1024."""
ORIGINAL_WINDOW = Window(input_px=646, output_px=448)
"""15.9 MFLOP per output pixel with five types, against 61.3 at 270 px."""


class ResidualStage(nn.Module):
    """Bottleneck units around a running sum, which is normalised at the end."""

    def __init__(self, n_in: int, n_units: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = 4 * width
        first = _sequence(_bottleneck(n_in, width, stride))
        self.units = nn.ModuleList([first])
        for _ in range(n_units - 1):
            later = _norm_relu("preact/", n_out) | _bottleneck(n_out, width, 1)
            self.units.append(_sequence(later))
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
        self.blk_bna = _sequence(_norm_relu("", n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4 * width, H / stride, W / stride)."""
        total = self.shortcut(x)
        for index, unit in enumerate(self.units):
            total = unit(total if index else x).add_(total)
        normed: Tensor = self.blk_bna(total)
        return normed


class DenseBlock(nn.Module):
    """Units that each append their output to their input, cut to the same size."""

    def __init__(self, n_in: int, n_units: int, kernel: int) -> None:
        super().__init__()
        widths = range(n_in, n_in + n_units * GROWTH, GROWTH)
        self.units = nn.ModuleList(_sequence(_dense_unit(n, kernel)) for n in widths)
        self.blk_bna = _sequence(_norm_relu("", n_in + n_units * GROWTH))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n_in + n_units * GROWTH, h, w), each unit's margin less."""
        for unit in self.units:
            new = unit(x)
            x = torch.cat((centred(x, new.shape), new), dim=1)
        normed: Tensor = self.blk_bna(x)
        return normed


class Upsample2x(nn.Module):
    """Each pixel four times. Its constant is in the authors' weights, so it is here."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("unpool_mat", torch.ones(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, 2h, 2w)."""
        return functional.interpolate(x, scale_factor=2, mode="nearest")


class HoVerNet(nn.Module):
    """Float RGB (B, 3, H, W) in [0, 255] to raw heads.

    H and W are multiples of 8 in the fast mode, and 6 more than that in the original.
    The branches are valid, but the encoder pads with zeros, as published.
    """

    def __init__(self, n_types: int, *, mode: Mode) -> None:
        super().__init__()
        fast = mode == "fast"
        self.start_px, self.lost_px = (0, 92) if fast else (6, 190)
        start = nn.Conv2d(3, 64, 7, padding=3 if fast else 0, bias=False)
        self.conv0 = _sequence({"/": start} | _norm_relu("", 64))
        self.d0, self.d1, self.d2, self.d3 = _encoder(64)
        self.conv_bot = nn.Conv2d(2048, BOTTOM, 1, bias=False)
        answers = {"np": 2, "hv": 2} | ({"tp": n_types + 1} if n_types else {})
        kernel = 3 if fast else 5
        self.decoder = nn.ModuleDict(
            {name: _branch(n_out, kernel) for name, n_out in answers.items()}
        )
        self.upsample2x = Upsample2x()
        self.apply(_initialise)

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return prob (1), hv (2) and, if there are types, type (n_types channels).

        Softmax does not notice a number added to all its inputs. So the background's
        output is taken from the others', and a sigmoid of prob is the two-way softmax
        of ``np``; a softmax of type is that of ``tp`` among nuclei, and of (0, type)
        that of ``tp`` with background.
        """
        raw = self.branches(rgb)
        heads = (raw["np"][:, 1:] - raw["np"][:, :1], raw["hv"])
        if "tp" not in raw:
            return heads
        return (*heads, raw["tp"][:, 1:] - raw["tp"][:, :1])

    def branches(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return what the authors' module returns: raw ``np``, ``hv`` and ``tp``.

        ``np`` has two channels, background and nucleus; ``tp`` one more than there are
        types, background first.

        Raises
        ------
        ShapeMismatch
            If height or width are too small, or between the sizes that work.
        """
        self._check(rgb.shape[-2:])
        d0 = self.d0(self.conv0(rgb / 255))
        d1 = self.d1(d0)
        d2 = self.d2(d1)
        d3 = self.conv_bot(self.d3(d2))
        return {
            name: self._answer(branch, d0, d1, d2, d3)
            for name, branch in self.decoder.items()
        }

    def _check(self, shape: Sequence[int]) -> None:
        if min(shape) <= self.lost_px or any((n - self.start_px) % 8 for n in shape):
            message = (
                f"HoVer-Net takes heights and widths of {self.start_px} more than a "
                f"multiple of 8, above {self.lost_px}; this is {tuple(shape)}."
            )
            raise ShapeMismatch(message)

    def _answer(self, branch: nn.Module, *features: Tensor) -> Tensor:
        """Return a branch's output: up, add what the encoder saw there, convolve."""
        *skips, x = features
        for level, skip in zip(("u3", "u2", "u1"), reversed(skips), strict=True):
            x = self.upsample2x(x)
            x = branch.get_submodule(level)(x.add_(centred(skip, x.shape)))
        answer: Tensor = branch.get_submodule("u0")(x)
        return answer


def _encoder(n_in: int) -> Iterator[ResidualStage]:
    for n_units, width, stride in STAGES:
        yield ResidualStage(n_in, n_units, width, stride)
        n_in = 4 * width


def _branch(n_out: int, kernel: int) -> nn.ModuleDict:
    levels: dict[str, dict[str, nn.Module]] = {
        "u3": {
            "conva": nn.Conv2d(BOTTOM, 256, kernel, bias=False),
            "dense": DenseBlock(256, 8, kernel),
            "convf": nn.Conv2d(512, 512, 1, bias=False),
        },
        "u2": {
            "conva": nn.Conv2d(512, 128, kernel, bias=False),
            "dense": DenseBlock(128, 4, kernel),
            "convf": nn.Conv2d(256, 256, 1, bias=False),
        },
        "u1": {"conva": nn.Conv2d(256, 64, kernel, padding=kernel // 2, bias=False)},
        "u0": _norm_relu("", 64) | {"conv": nn.Conv2d(64, n_out, 1)},
    }
    return nn.ModuleDict({name: _sequence(parts) for name, parts in levels.items()})


def _bottleneck(n_in: int, width: int, stride: int) -> dict[str, nn.Module]:
    """Pad as TensorFlow does: with stride 2 below and to the right only."""
    around = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
    return {
        "conv1": nn.Conv2d(n_in, width, 1, bias=False),
        **_norm_relu("conv1/", width),
        "conv2/pad": nn.ZeroPad2d(around),
        "conv2": nn.Conv2d(width, width, 3, stride, bias=False),
        **_norm_relu("conv2/", width),
        "conv3": nn.Conv2d(width, 4 * width, 1, bias=False),
    }


def _dense_unit(n_in: int, kernel: int) -> dict[str, nn.Module]:
    return {
        **_norm_relu("preact_bna/", n_in),
        "conv1": nn.Conv2d(n_in, 128, 1, bias=False),
        **_norm_relu("conv1/", 128),
        "conv2": nn.Conv2d(128, GROWTH, kernel, groups=GROUPS, bias=False),
    }


def _norm_relu(prefix: str, n: int) -> dict[str, nn.Module]:
    return {f"{prefix}bn": nn.BatchNorm2d(n), f"{prefix}relu": nn.ReLU(inplace=True)}


def _sequence(parts: Mapping[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))


def _initialise(module: nn.Module) -> None:
    """Start as He et al. 2015; the last convolutions, which have a bias, smaller."""
    if isinstance(module, nn.Conv2d) and module.bias is None:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


VARIANTS = ("original",)


def variant(name: str) -> Network:
    """Return the original build, ``"hovernet:original"``.

    Raises
    ------
    UnknownNetwork
        If it is another that is asked for.
    """
    if name not in VARIANTS:
        message = f"HoVer-Net comes as hovernet and hovernet:original, not {name!r}."
        raise UnknownNetwork(message)
    return replace(
        NETWORK,
        name=f"hovernet:{name}",
        window=ORIGINAL_WINDOW,
        build=partial(HoVerNet, mode="original"),
    )


NETWORK = Network(
    name="hovernet",
    paper=(
        "Graham et al. 2019, HoVer-Net: simultaneous segmentation and classification "
        "of nuclei in multi-tissue histology images, Medical Image Analysis 58:101563"
    ),
    mpp=0.25,
    window=WINDOW,
    step_px=8,
    activation_bytes_per_px=3600,
    heads=_hv.heads,
    build=partial(HoVerNet, mode="fast"),
    decoding=QuarterMicronDecoding,
    decode=_hv.decode,
    targets=_hv.make_targets,
    loss=loss,
)
