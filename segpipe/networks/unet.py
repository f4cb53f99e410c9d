"""U-Net: a contracting and an expanding path with skips, as published; or padded.

As in the paper: convolutions without padding, each followed by a ReLU and none by a
batch norm, 64 to 1024 channels, dropout at the end of the contracting path, weights
drawn so that activations keep unit variance. One logit says what the paper's two do:
a softmax over two classes is the sigmoid of the difference of their logits.

``unet:padded`` has same-size convolutions, so that its maps are as large as its input;
``unet:small`` is padded and a quarter as wide, for plain processors.

Touching nuclei are parted by a line of background in the targets, which the loss
weighs up to ten times and decoding gives back. The line is two pixels wide, and nuclei
are 10 to 20 px across, as the paper's cells are 30 to 60: 0.5 micrometres per pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat, nn

from segpipe import losses, targets
from segpipe.arrays import LabelMap, Maps
from segpipe.decoding.boundary import RegionDecoding, decode_region
from segpipe.errors import UnknownNetwork
from segpipe.networks._layers import GREY, Standardise, centred
from segpipe.networks._network import Head, Network, Window
from segpipe.networks._typed import (
    pixels_of,
    type_terms,
    typed_heads,
    typed_targets,
)

PAPER = "Ronneberger, Fischer and Brox 2015, U-Net, MICCAI, LNCS 9351:234-241"
WIDTH = 64
"""Channels at full resolution; each of the four levels below has twice as many."""
LEVELS = 5
DROPOUT = 0.5
FOREGROUND_SHARE = 0.15
"""Of the pixels of annotated tissue (tnbc .13, nuinsseg .16, consep .16, dsb2018 .20);
the classes weigh what makes them even."""
GAP_WEIGHT = 10.0
"""Of the narrowest gaps, besides their class's: the paper's w_0."""
VARIANTS = ("padded", "small")


def _convolutions(n_in: int, n_out: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=padding),
        nn.ReLU(inplace=True),
        nn.Conv2d(n_out, n_out, 3, padding=padding),
        nn.ReLU(inplace=True),
    )


class Contracting(nn.Module):
    """Pairs of convolutions with pooling between, dropout after the two deepest."""

    def __init__(self, width: int, padding: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        pairs = zip((3, *widths[:-1]), widths, strict=True)
        self.levels = nn.ModuleList(_convolutions(*pair, padding) for pair in pairs)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) to the features of every level, the finest first."""
        features: list[Tensor] = []
        for depth, level in enumerate(self.levels):
            x = level(self.pool(features[-1]) if features else x)
            features.append(self.dropout(x) if depth >= LEVELS - 2 else x)
        return features


class Expanding(nn.Module):
    """Up-convolve, append the middle of the skip, convolve twice."""

    def __init__(self, n_in: int, padding: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(n_in, n_in // 2, 2, 2)
        self.convolutions = _convolutions(n_in, n_in // 2, padding)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Merge (B, n_in, h, w) with a skip of at least (2h, 2w)."""
        raised = self.up(deep)
        merged: Tensor = self.convolutions(
            cat((centred(skip, raised.shape), raised), dim=1)
        )
        return merged


class UNet(nn.Module):
    """Float RGB (B, 3, H, W) in [0, 255] to raw heads, 184 px smaller unless padded."""

    def __init__(self, n_types: int, *, width: int = WIDTH, padding: int = 0) -> None:
        super().__init__()
        self.standardise = Standardise(GREY, GREY)
        self.encoder = Contracting(width, padding)
        deep = [width * 2**level for level in range(LEVELS - 1, 0, -1)]
        self.rise = nn.ModuleList(Expanding(n_in, padding) for n_in in deep)
        self.heads = nn.ModuleList(
            nn.Conv2d(width, head.n_channels, 1) for head in heads(n_types)
        )
        self.apply(_initialise)

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return one (B, n_channels, h, w) per head, before activation."""
        *skips, x = self.encoder(self.standardise(rgb))
        for block, skip in zip(self.rise, reversed(skips), strict=True):
            x = block(x, skip)
        return tuple(head(x) for head in self.heads)


def _initialise(module: nn.Module) -> None:
    """Draw weights of variance 2 / (inputs per output), as section 3 of the paper."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.ConvTranspose2d):
        # Each output has one pixel of every input channel: fan-in is the channels.
        nn.init.normal_(module.weight, std=(2 / module.in_channels) ** 0.5)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def heads(n_types: int) -> tuple[Head, ...]:
    """Return prob, and type if there are types."""
    prob = Head(name="prob", n_channels=1, activation="sigmoid", dtype="uint8")
    return typed_heads((prob,), n_types)


def decode(maps: Maps, decoding: RegionDecoding) -> LabelMap:
    """Return the label map of a box from its quantised ``prob``."""
    return decode_region(maps["prob"], decoding=decoding)


def make_targets(
    labels: LabelMap,
    types: NDArray[np.uint8] | None,
    n_types: int,
    *,
    gap_weight: float = GAP_WEIGHT,
) -> Mapping[str, NDArray[Any]]:
    """Return the target of each head for a patch (Y, X), and ``weight`` (1, Y, X)."""
    parted = np.where(targets.separation_line(labels), 0, labels)
    weight = targets.border_weight(
        parted,
        background=0.5 / (1 - FOREGROUND_SHARE),
        foreground=0.5 / FOREGROUND_SHARE,
        most=gap_weight,
    )
    always = {"prob": targets.prob_target(parted)[None], "weight": weight[None]}
    return typed_targets(always, types, n_types)


def loss(
    outputs: tuple[Tensor, ...], target: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the loss terms of raw heads against a batch of targets.

    Cross-entropy under the weight map, which is flat where instances can't be trusted
    (``reliable``), and nothing where no image is shown (``valid``).
    """
    prob, *typed = (out.float() for out in outputs)
    pixels = pixels_of(target)
    weight = pixels.weighed(target["weight"][:, 0])
    terms = {"bce": losses.bce_loss(prob[:, 0], pixels.inside, weight)}
    return terms | type_terms(typed, target, pixels.valid)


NETWORK = Network(
    name="unet",
    paper=PAPER,
    mpp=0.5,
    window=Window(input_px=572, output_px=388),
    step_px=16,
    activation_bytes_per_px=1400,
    heads=heads,
    build=UNet,
    decoding=RegionDecoding,
    decode=decode,
    targets=make_targets,
    loss=loss,
)


@cache
def variant(name: str) -> Network:
    """Return ``unet:padded`` or ``unet:small``.

    Raises
    ------
    UnknownNetwork
        If there is no such variant.
    """
    widths = {"padded": WIDTH, "small": WIDTH // 4}
    if name not in widths:
        message = f"There is no unet:{name}. There are: {', '.join(VARIANTS)}."
        raise UnknownNetwork(message)
    return replace(
        NETWORK,
        name=f"unet:{name}",
        window=Window(input_px=640, output_px=448),
        activation_bytes_per_px=30 * widths[name] + 200,
        build=partial(UNet, width=widths[name], padding=1),
    )
