"""HoverLite: HoVer-Net's idea on a phone-sized encoder, the network segpipe ships.

It sees and answers at 0.25 micrometres per pixel and thinks at 0.5, where a pixel costs
a quarter: the encoder is fed the image halved, and what halving loses comes back as
the last skip, the image with each 2 x 2 pixels as channels. Heads answer for the four
pixels at once (Shi et al. 2016, sub-pixel convolution).

::

    image ─┬─ halve ─► EfficientNet-Lite0 ─► U-Net decoder ─┐
           └─ 2 x 2 pixels to channels ─► fine ─────────────+► top ─► heads ─► pixels
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat, nn, split
from torch.nn import functional

from segpipe import losses, targets
from segpipe.arrays import LabelMap
from segpipe.decoding.hv import QuarterMicronDecoding
from segpipe.networks import _hv
from segpipe.networks._efficientnet_lite import MEAN, STD, EfficientNetLite
from segpipe.networks._layers import ConvBlock, Standardise, WayUp
from segpipe.networks._network import Network, Window
from segpipe.networks._typed import pixels_of, type_terms

WIDTHS = (128, 64, 48, 32)
"""Channels of the decoder at strides 16, 8, 4 and 2 of the halved image."""
TOP = 24
"""Channels before the heads."""
HV_WEIGHT = 4.0
"""Weight of the offsets' squared error, which ends near 0.05."""
SLOPE_WEIGHT = 30.0
"""Weight of their slopes' squared error, which ends near 0.02. HoVer-Net weighs both
the same, but its filter gives a slope some ten times this one's response."""
OUTSIDE_WEIGHT = 0.2
"""Weight of background against nuclei in the offset loss."""
USUAL_AREA_PX = 300.0
"""A nucleus of this area, 19 square micrometres, counts 1 a pixel."""
MOST_WEIGHT = 2.5
"""No nucleus counts more than this a pixel, however small."""
TOUCHING_PX = 2
"""Pixels that two nuclei lie so near to decide whether these are told apart."""
TOUCHING_WEIGHT = 3.0
"""How much more such a pixel counts than others."""
TYPE_BALANCE = 0.5
"""How far rare types count more, from not at all to as much as others: 0 to 1."""


class HoverLite(nn.Module):
    """Float RGB (B, 3, H, W) in [0, 255], H and W multiples of 64, to raw heads."""

    def __init__(self, n_types: int) -> None:
        super().__init__()
        self.standardise = Standardise(MEAN, STD)
        self.encoder = EfficientNetLite()
        self.rise = WayUp(self.encoder.widths, WIDTHS)
        width = WIDTHS[-1]
        self.fine = ConvBlock(12, width)
        self.top = nn.Sequential(ConvBlock(width, width), ConvBlock(width, TOP))
        self.heads = nn.ModuleList(
            nn.Conv2d(TOP, 4 * head.n_channels, 1) for head in _hv.heads(n_types)
        )

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return one (B, n_channels, H, W) per head, before activation."""
        image = self.standardise(rgb)
        x = self.rise(self.encoder(functional.avg_pool2d(image, 2)))
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        x = x + self.fine(functional.pixel_unshuffle(image, 2))
        return self._answers(self.top(x))

    def _answers(self, x: Tensor) -> tuple[Tensor, ...]:
        """Apply all heads in one convolution: theirs alone would be slow, so narrow."""
        weights, biases = zip(*(head.parameters() for head in self.heads), strict=True)
        pixels = functional.pixel_shuffle(
            functional.conv2d(x, cat(weights), cat(biases)), 2
        )
        widths = [len(bias) // 4 for bias in biases]
        return split(pixels, widths, dim=1)


def make_targets(
    labels: LabelMap,
    types: NDArray[np.uint8] | None,
    n_types: int,
    *,
    usual_area_px: float = USUAL_AREA_PX,
    touching_px: int = TOUCHING_PX,
) -> Mapping[str, NDArray[Any]]:
    """Return the target of each head for a patch (Y, X), and ``weight`` (1, Y, X)."""
    weight = targets.size_weight(labels, area_px=usual_area_px, most=MOST_WEIGHT)
    weight[targets.near_two(labels, reach_px=touching_px)] *= TOUCHING_WEIGHT
    return {**_hv.make_targets(labels, types, n_types), "weight": weight[None]}


def loss(
    outputs: tuple[Tensor, ...], target: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the loss terms of raw heads against a batch of targets.

    ``target`` holds what ``make_targets`` returns, and may hold ``valid`` (B, H, W), 1
    where the image is shown at all, and ``reliable`` (B, H, W), 1 where instances can
    be trusted; elsewhere all pixels weigh the same.
    """
    prob, hv, *typed = (out.float() for out in outputs)
    pixels = pixels_of(target)
    inside, valid, trusted = pixels
    weight = pixels.weighed(target["weight"][:, 0])
    instances = trusted * weight
    spread = instances * (inside + OUTSIDE_WEIGHT * (1 - inside))
    terms = {
        "bce": losses.bce_loss(prob[:, 0], inside, weight),
        "dice": losses.dice_loss(prob[:, 0], inside, valid),
        "hv": HV_WEIGHT * losses.hv_loss(hv, target["hv"], spread),
        "hv_slope": SLOPE_WEIGHT
        * losses.hv_gradient_loss(hv, target["hv"], instances * inside),
    }
    return terms | type_terms(typed, target, weight, balance=TYPE_BALANCE)


NETWORK = Network(
    name="hoverlite",
    paper=(
        "Graham et al. 2019, HoVer-Net, Medical Image Analysis 58:101563, on an "
        "EfficientNet-Lite0 encoder (Tan and Le 2019)"
    ),
    mpp=0.25,
    window=Window(input_px=1280, output_px=1024),
    step_px=64,
    activation_bytes_per_px=320,
    heads=_hv.heads,
    build=HoverLite,
    decoding=QuarterMicronDecoding,
    decode=_hv.decode,
    targets=make_targets,
    loss=loss,
)
