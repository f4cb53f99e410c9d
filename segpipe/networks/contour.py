"""DCAN: what is nucleus and what is outline, each from several levels of one encoder.

As in the paper: a plain convolutional encoder, whose deeper levels are upsampled to
full resolution by one learnt filter each, once for regions and once for outlines, and
whose votes add up to either map. Not as in the paper:

- The levels lie at strides 2, 4 and 8 instead of 8, 16 and 32, for nuclei at 0.5
  micrometres per pixel are some ten times smaller than the paper's glands.
- Batch norms take the place of pretrained weights and of the auxiliary classifiers,
  which served training only; ``forward`` returns the heads.
- Outlines are two pixels wide: thicker ones leave nothing inside small nuclei.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat, nn
from torch.nn import functional

from segpipe import losses, targets
from segpipe.arrays import LabelMap, Maps
from segpipe.decoding.boundary import ContourDecoding, decode_contour
from segpipe.networks._layers import GREY, ConvBlock, Standardise
from segpipe.networks._network import Head, Network, Window
from segpipe.networks._typed import (
    pixels_of,
    type_terms,
    typed_heads,
    typed_targets,
)

WIDTHS = (64, 128, 256, 512)
"""Channels at strides 1, 2, 4 and 8."""
DEPTHS = (2, 2, 3, 3)
"""Convolutions at each."""
UPSAMPLED = 16
"""Channels of an upsampled level."""
CONTOUR_PX = 2
"""Width of the outlines: half of it lies inside, half outside."""
CONTOUR_WEIGHT = 2.0
"""Weight of the outlines' loss, whose pixels are few."""


class Descent(nn.Module):
    """Convolutions with pooling between; features at strides 1, 2, 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        rows = zip((3, *WIDTHS[:-1]), WIDTHS, DEPTHS, strict=True)
        self.levels = nn.ModuleList(
            nn.Sequential(
                ConvBlock(n_in, n_out),
                *(ConvBlock(n_out, n_out) for _ in range(depth - 1)),
            )
            for n_in, n_out, depth in rows
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) to the features of every level, the finest first."""
        features: list[Tensor] = []
        for level in self.levels:
            x = level(functional.max_pool2d(features[-1], 2) if features else x)
            features.append(x)
        return features


class Votes(nn.Module):
    """Each level upsampled by a filter of its own; their votes, added up."""

    def __init__(self, n_out: int) -> None:
        super().__init__()
        strides = [2**level for level in range(1, len(WIDTHS))]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width, UPSAMPLED, 2 * stride, stride, stride // 2)
            for width, stride in zip(WIDTHS[1:], strides, strict=True)
        )
        # A 1x1 classifier of all levels is the sum of a 1x1 classifier of each.
        self.classify = nn.Conv2d(UPSAMPLED * len(strides), n_out, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map the features below full resolution to (B, n_out, H, W)."""
        raised = [up(x) for up, x in zip(self.up, features, strict=True)]
        votes: Tensor = self.classify(functional.relu(cat(raised, dim=1)))
        return votes


class ContourNet(nn.Module):
    """Float RGB (B, 3, H, W) in [0, 255], H and W multiples of 8, to raw heads."""

    def __init__(self, n_types: int) -> None:
        super().__init__()
        self.standardise = Standardise(GREY, GREY)
        self.encoder = Descent()
        self.heads = nn.ModuleList(Votes(head.n_channels) for head in heads(n_types))

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return one (B, n_channels, H, W) per head, before activation."""
        features = self.encoder(self.standardise(rgb))[1:]
        return tuple(head(features) for head in self.heads)


def heads(n_types: int) -> tuple[Head, ...]:
    """Return prob and contour, and type if there are types."""
    always = (
        Head(name="prob", n_channels=1, activation="sigmoid", dtype="uint8"),
        Head(name="contour", n_channels=1, activation="sigmoid", dtype="uint8"),
    )
    return typed_heads(always, n_types)


def decode(maps: Maps, decoding: ContourDecoding) -> LabelMap:
    """Return the label map of a box from its quantised ``prob`` and ``contour``."""
    return decode_contour(maps["prob"], maps["contour"], decoding=decoding)


def make_targets(
    labels: LabelMap, types: NDArray[np.uint8] | None, n_types: int
) -> Mapping[str, NDArray[Any]]:
    """Return the target of each head for a patch (Y, X): one array per head name."""
    always = {
        "prob": targets.prob_target(labels)[None],
        "contour": targets.contour_target(labels, CONTOUR_PX)[None],
    }
    return typed_targets(always, types, n_types)


def loss(
    outputs: tuple[Tensor, ...], target: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the loss terms of raw heads against a batch of targets.

    Cross-entropy of either map: of regions where the image is shown (``valid``), of
    outlines where instances can be trusted too (``reliable``).
    """
    prob, contour, *typed = (out.float() for out in outputs)
    inside, valid, trusted = pixels_of(target)
    terms = {
        "bce": losses.bce_loss(prob[:, 0], inside, valid),
        "contour": CONTOUR_WEIGHT
        * losses.bce_loss(contour[:, 0], target["contour"][:, 0], trusted),
    }
    return terms | type_terms(typed, target, valid)


NETWORK = Network(
    name="contour",
    paper=(
        "Chen, Qi, Yu and Heng 2016, DCAN: Deep Contour-Aware Networks for Accurate "
        "Gland Segmentation, CVPR, 2487-2496"
    ),
    mpp=0.5,
    window=Window(input_px=640, output_px=512),
    step_px=8,
    activation_bytes_per_px=1200,
    heads=heads,
    build=ContourNet,
    decoding=ContourDecoding,
    decode=decode,
    targets=make_targets,
    loss=loss,
)
