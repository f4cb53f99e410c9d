"""MobileNetV2's features, in the module names of torchvision's state dict.

References
----------
Sandler et al. 2018, *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, table 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor, nn

from segpipe.networks._imagenet import load_features
from segpipe.networks._layers import DepthwiseConv

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
STEM = 32
_HEAD = ("features.18.", "classifier.")
"""The classifier and the convolution before it, which segmentation leaves out."""


class Stage(NamedTuple):
    """A row of the paper's table."""

    expansion: int
    n_out: int
    n_blocks: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
_LAST = (0, 1, 2, 4, 6)
"""Stages that end in the features at strides 2, 4, 8, 16 and 32."""


def _filtered(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(
        conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU6(inplace=True)
    )


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1, add the input."""

    def __init__(self, n_in: int, n_out: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        wide = n_in * expansion
        self._adds = stride == 1 and n_in == n_out
        widening = [nn.Conv2d(n_in, wide, 1, bias=False)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *map(_filtered, widening),
            _filtered(DepthwiseConv(wide, 3, stride=stride)),
            nn.Conv2d(wide, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, h, w) to (B, n_out, h / stride, w / stride)."""
        narrow: Tensor = self.conv(x)
        return x + narrow if self._adds else narrow


class MobileNetV2(nn.Module):
    """The features at five strides; no classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.widths = tuple(STAGES[at].n_out for at in _LAST)
        """Channels of the features at strides 2, 4, 8, 16 and 32."""
        ends = tuple(accumulate(stage.n_blocks for stage in STAGES))
        self._ends = tuple(ends[at] for at in _LAST)
        stem = nn.Conv2d(3, STEM, 3, 2, 1, bias=False)
        self.features = nn.ModuleList((_filtered(stem), *_blocks()))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map standardised (B, 3, H, W) to ``widths`` channels at five strides."""
        features = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in self._ends:
                features.append(x)
        return tuple(features)

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Take torchvision's ImageNet weights, leaving out their classifier.

        Raises
        ------
        WeightsError
            If names or shapes are not those of MobileNetV2.
        """
        load_features(self, state, classifier=_HEAD, title="MobileNetV2")


def _blocks() -> Iterator[InvertedResidual]:
    n_in = STEM
    for stage in STAGES:
        for index in range(stage.n_blocks):
            yield InvertedResidual(
                n_in,
                stage.n_out,
                stride=stage.stride if index == 0 else 1,
                expansion=stage.expansion,
            )
            n_in = stage.n_out
