"""EfficientNet-Lite0's features, in the module names of the published state dict.

EfficientNet without squeeze-and-excitation and with ReLU6, made for integer hardware
and therefore fast on plain processors too.

References
----------
Tan and Le 2019, *EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks*; the Lite variants are described in the TensorFlow TPU repository.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from segpipe.errors import WeightsError

MEAN = (127.0, 127.0, 127.0)
STD = (128.0, 128.0, 128.0)
FEATURES = (16, 24, 40, 112, 320)
"""Channels of the features at strides 2, 4, 8, 16 and 32."""
_ENDS = (0, 2, 4, 10, 15)
"""Blocks whose outputs are those features."""
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
        self._depthwise_conv = nn.Conv2d(
            wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False
        )
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


class EfficientNetLite0(nn.Module):
    """The features at five strides; no classifier."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(32)
        self._act = nn.ReLU6(inplace=True)
        self._blocks = nn.ModuleList(_blocks())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map standardised (B, 3, H, W) to ``FEATURES`` channels at five strides."""
        x = self._act(self._bn0(self._conv_stem(x)))
        features = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in _ENDS:
                features.append(x)
        return tuple(features)

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Take the published ImageNet weights, leaving out their classifier.

        Raises
        ------
        WeightsError
            If names or shapes are not those of EfficientNet-Lite0.
        """
        own = {k: v for k, v in state.items() if not k.startswith(_HEAD)}
        try:
            self.load_state_dict(own, strict=True)
        except RuntimeError as error:
            message = f"These are not the weights of EfficientNet-Lite0: {error}"
            raise WeightsError(message) from error


def _blocks() -> Iterator[InvertedResidual]:
    n_in = 32
    for stage in STAGES:
        for index in range(stage.n_blocks):
            yield InvertedResidual(
                n_in,
                stage.n_out,
                kernel=stage.kernel,
                stride=stage.stride if index == 0 else 1,
                expansion=stage.expansion,
            )
            n_in = stage.n_out
