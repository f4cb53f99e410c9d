"""EfficientNet-Lite's features, in the module names of the published state dicts.

EfficientNet without squeeze-and-excitation and with ReLU6, made for integer hardware
and therefore fast on plain processors too. Lite1 and Lite2 are Lite0, wider and deeper,
but for the stem and the first and last stage, whose sizes stay.

References
----------
Tan and Le 2019, *EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks*; the Lite variants are described in the TensorFlow TPU repository.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor, nn

from segpipe.networks._imagenet import load_features
from segpipe.networks._layers import DepthwiseConv

MEAN = (127.0, 127.0, 127.0)
STD = (128.0, 128.0, 128.0)
STEM = 32
SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))
"""Factors of width and depth of Lite0, Lite1, Lite2."""
_HEAD = ("_conv_head", "_bn1", "_fc")
"""The classifier, which segmentation leaves out."""


class Stage(NamedTuple):
    """A row of the architecture's table."""

    n_blocks: int
    kernel: int
    stride: int
    expansion: int
    n_out: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Of Lite0."""
_LAST = (0, 1, 2, 4, 6)
"""Stages that end in the features at strides 2, 4, 8, 16 and 32."""


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel by k x k, narrow by 1x1, add the input."""

    def __init__(
        self, n_in: int, n_out: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = n_in * expansion
        self._adds = stride == 1 and n_in == n_out
        if expansion > 1:
            self._expand_conv = nn.Conv2d(n_in, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide)
        self._depthwise_conv = DepthwiseConv(wide, kernel, stride=stride)
        self._bn1 = nn.BatchNorm2d(wide)
        self._project_conv = nn.Conv2d(wide, n_out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(n_out)
        self._widens = expansion > 1
        self._act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, h, w) to (B, n_out, h / stride, w / stride)."""
        y = self._act(self._bn0(self._expand_conv(x))) if self._widens else x
        y = self._act(self._bn1(self._depthwise_conv(y)))
        narrow: Tensor = self._bn2(self._project_conv(y))
        return x + narrow if self._adds else narrow


class EfficientNetLite(nn.Module):
    """The features of Lite0, Lite1 or Lite2 at five strides; no classifier."""

    def __init__(self, version: int = 0) -> None:
        super().__init__()
        stages = scaled_stages(version)
        self.widths = tuple(stages[at].n_out for at in _LAST)
        """Channels of the features at strides 2, 4, 8, 16 and 32."""
        ends = tuple(accumulate(stage.n_blocks for stage in stages))
        self._ends = tuple(ends[at] - 1 for at in _LAST)
        self._version = version
        self._conv_stem = nn.Conv2d(3, STEM, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM)
        self._act = nn.ReLU6(inplace=True)
        self._blocks = nn.ModuleList(_blocks(stages))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map standardised (B, 3, H, W) to ``widths`` channels at five strides."""
        x = self._act(self._bn0(self._conv_stem(x)))
        features = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self._ends:
                features.append(x)
        return tuple(features)

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Take the published ImageNet weights, leaving out their classifier.

        Raises
        ------
        WeightsError
            If names or shapes are not those of this EfficientNet-Lite.
        """
        title = f"EfficientNet-Lite{self._version}"
        load_features(self, state, classifier=_HEAD, title=title)


def scaled_stages(version: int) -> tuple[Stage, ...]:
    """Return the stages of Lite0, Lite1 or Lite2: compound scaling of Lite0's."""
    width, depth = SCALES[version]
    ends = (0, len(STAGES) - 1)
    return tuple(
        stage._replace(
            n_out=_rounded(stage.n_out * width),
            n_blocks=stage.n_blocks
            if index in ends
            else math.ceil(stage.n_blocks * depth),
        )
        for index, stage in enumerate(STAGES)
    )


def _rounded(width: float) -> int:
    """Round to a multiple of eight, but not down by more than a tenth."""
    nearest = max(8, int(width + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * width else nearest + 8


def _blocks(stages: tuple[Stage, ...]) -> Iterator[InvertedResidual]:
    n_in = STEM
    for stage in stages:
        for index in range(stage.n_blocks):
            yield InvertedResidual(
                n_in,
                stage.n_out,
                kernel=stage.kernel,
                stride=stage.stride if index == 0 else 1,
                expansion=stage.expansion,
            )
            n_in = stage.n_out
