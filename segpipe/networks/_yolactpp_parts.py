"""Parts of YOLACT++: protonet, head, anchors, and what rates a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from segpipe.networks import _boxes
from segpipe.networks._layers import raised
from segpipe.networks._prototypes import Assembled, resampled
from segpipe.networks._rpn import Anchors

STRIDES = (8, 16, 32)
"""Of the pyramid's levels."""
SMALLEST_PX = (10.0, 20.0, 40.0)
"""Side of the smallest anchor of each level."""
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
"""Of anchors at each place (Bolya et al. 2020, section 6.2)."""
ANCHORS = Anchors(
    sides=tuple(tuple(side * scale for scale in SCALES) for side in SMALLEST_PX),
    ratios=(1.0, 0.5, 2.0),
)
"""Whole pixels wide and high."""
N_PROTOTYPES = 32
CODING: _boxes.Weights = (10.0, 10.0, 5.0, 5.0)
"""Of box offsets: SSD's variances."""
RATED_PX = 16
"""Side of what the mask rating sees of a mask."""
PRIOR = 0.01
"""What an untrained head takes the chance of a nucleus for (Lin et al. 2017b)."""


class Raw(NamedTuple):
    """What the module returns, of a batch."""

    classes: Tensor
    """(B, A, 1 + C): background and classes, before softmax."""
    offsets: Tensor
    """(B, A, 4) of boxes from anchors."""
    coefficients: Tensor
    """(B, A, k) before tanh."""
    prototypes: Tensor
    """(B, k, H / 2, W / 2)."""
    semantic: Tensor
    """(B, C, H / 8, W / 8) before sigmoid; serves training only."""


def _conv(n_in: int, n_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2), nn.ReLU(inplace=True)
    )


class Protonet(nn.Module):
    """The finest level, raised to stride 2 with what the encoder saw there.

    Half as wide as the pyramid, and at the end no wider than there are prototypes:
    otherwise it would cost as much as the encoder.
    """

    def __init__(self, width: int, finer: Sequence[int]) -> None:
        super().__init__()
        half = width // 2
        self.deep = nn.Sequential(
            _conv(width, half), _conv(half, half), _conv(half, half)
        )
        self.second = nn.Conv2d(finer[1], half, 1)
        self.first = nn.Conv2d(finer[0], N_PROTOTYPES, 1)
        self.merge = _conv(half, half)
        self.narrow = nn.Conv2d(half, N_PROTOTYPES, 1)
        self.last = _conv(N_PROTOTYPES, N_PROTOTYPES)

    def forward(self, level: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Map features at strides 8, 2 and 4 to the prototypes, 0 or more."""
        x = self.merge(raised(self.deep(level), second) + self.second(second))
        x = raised(self.narrow(x), first) + self.first(first)
        prototypes: Tensor = self.last(x)
        return prototypes


class Head(nn.Module):
    """Classes, offsets and coefficients of every anchor, alike at all levels."""

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.shared = _conv(width, width)
        self.classes = nn.Conv2d(
            width, ANCHORS.per_place * (1 + n_classes), 3, padding=1
        )
        self.offsets = nn.Conv2d(width, ANCHORS.per_place * 4, 3, padding=1)
        self.coefficients = nn.Conv2d(
            width, ANCHORS.per_place * N_PROTOTYPES, 3, padding=1
        )
        odds = np.log((1 - PRIOR) / PRIOR * n_classes)
        bias = torch.zeros(ANCHORS.per_place, 1 + n_classes)
        bias[:, 0] = float(odds)
        with torch.no_grad():
            self.classes.bias.copy_(bias.flatten())  # type: ignore[union-attr]

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return (B, A, 1 + C), (B, A, 4) and (B, A, k), level after level."""
        seen = [self.shared(level) for level in levels]
        return [
            torch.cat([_by_anchor(conv(x)) for x in seen], dim=1)
            for conv in (self.classes, self.offsets, self.coefficients)
        ]


def _by_anchor(x: Tensor) -> Tensor:
    """Turn (B, ANCHORS.per_place * n, h, w) to (B, h * w * ANCHORS.per_place, n)."""
    rows = x.permute(0, 2, 3, 1)
    return rows.reshape(len(x), -1, x.shape[1] // ANCHORS.per_place)


class MaskRating(nn.Sequential):
    """The IoU that a mask is likely to have with the nucleus (section 6.3)."""

    def __init__(self) -> None:
        super().__init__(
            _conv(1, 16, stride=2),
            _conv(16, 32, stride=2),
            _conv(32, 64, stride=2),
            nn.Conv2d(64, 1, 1),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(0),
        )


def anchors_of(height: int, width: int, device: torch.device) -> Tensor:
    """Return the anchors (A, 4) of an input, level by level, place by place."""
    shapes = [(height // stride, width // stride) for stride in STRIDES]
    return torch.cat(ANCHORS.boxes(shapes, STRIDES)).to(device)


def rating_of(module: nn.Module, masks: Assembled, boxes: Tensor) -> Tensor:
    """Return the IoU (n,) that masks of some boxes (n, 4) are likely to have."""
    shown = masks.logits.detach().sigmoid() * masks.inside
    rated: Tensor = module.rating(resampled(shown, masks, boxes, RATED_PX))  # type: ignore[operator]
    return rated.sigmoid()
