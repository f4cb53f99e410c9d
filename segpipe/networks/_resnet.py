"""ResNet-50 and -101, and the feature pyramid on top, in torchvision's module names.

References
----------
He et al. 2016, *Deep Residual Learning for Image Recognition*, table 1, with the stride
in the 3 x 3 convolution; Lin et al. 2017, *Feature Pyramid Networks*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from segpipe.networks._imagenet import load_features

BLOCKS: Mapping[str, tuple[int, int, int, int]] = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
"""Blocks of the four stages, by name."""
EXPANSION = 4
"""Channels that a block gives for each one of its 3 x 3 convolution."""
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

Norm = Callable[[int], nn.Module]


class Place(NamedTuple):
    """Where in a ResNet a 3 x 3 convolution stands."""

    stage: int
    """0 to 3."""
    block: int
    """From 0, in the stage."""
    width: int
    """Channels in and out."""
    stride: int


Conv3x3 = Callable[[Place], nn.Module]
"""Makes the 3 x 3 convolution of a place, (B, width, h, w) to (B, width, h / stride, w
/ stride), without bias."""


def plain_conv(place: Place) -> nn.Module:
    """Return an ordinary convolution."""
    width = place.width
    return nn.Conv2d(width, width, 3, place.stride, padding=1, bias=False)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut."""

    def __init__(
        self, n_in: int, place: Place, *, conv3x3: Conv3x3, norm: Norm
    ) -> None:
        super().__init__()
        n_out = EXPANSION * place.width
        self.conv1 = nn.Conv2d(n_in, place.width, 1, bias=False)
        self.bn1 = norm(place.width)
        self.conv2 = conv3x3(place)
        self.bn2 = norm(place.width)
        self.conv3 = nn.Conv2d(place.width, n_out, 1, bias=False)
        self.bn3 = norm(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if place.block == 0:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, place.stride, bias=False), norm(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4 * width, h / stride, w / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        kept = x if self.downsample is None else self.downsample(x)
        added: Tensor = self.relu(y + kept)
        return added


class ResNet(nn.Module):
    """The features at five strides; no classifier.

    Parameters
    ----------
    blocks
        Of each stage, as in ``BLOCKS``.
    conv3x3
        Makes the 3 x 3 convolutions of the blocks.
    norm
        Makes the norms: ``nn.BatchNorm2d`` or ``FrozenBatchNorm2d``.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        conv3x3: Conv3x3 = plain_conv,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        n_in, widths = 64, [64]
        for stage, n_blocks in enumerate(blocks):
            width, stride = 64 * 2**stage, 1 if stage == 0 else 2
            layer = []
            for block in range(n_blocks):
                place = Place(stage, block, width, stride if not block else 1)
                layer.append(Bottleneck(n_in, place, conv3x3=conv3x3, norm=norm))
                n_in = EXPANSION * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
            widths.append(n_in)
        self.widths = tuple(widths)
        """Channels of the features at strides 2, 4, 8, 16 and 32."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map standardised (B, 3, H, W) to ``widths`` channels at five strides."""
        x = self.relu(self.bn1(self.conv1(x)))
        features = [x]
        x = self.maxpool(x)
        for stage in range(1, len(self.widths)):
            x = self.get_submodule(f"layer{stage}")(x)
            features.append(x)
        return tuple(features)

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Take torchvision's ImageNet weights, leaving out their classifier.

        Raises
        ------
        WeightsError
            If names or shapes are not those of this ResNet.
        """
        load_features(self, state, classifier=("fc.",), title="this ResNet")


class FPN(nn.Module):
    """A pyramid whose finer levels know what the coarser ones saw.

    Parameters
    ----------
    widths
        Channels of the features it is built on, finest first.
    n_out
        Channels of each of its levels.
    n_levels
        How many of the finest levels it gives.
    """

    def __init__(self, widths: Sequence[int], n_out: int, n_levels: int) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(_conv(n, n_out, 1) for n in widths)
        self.layer_blocks = nn.ModuleList(
            _conv(n_out, n_out, 3) for _ in range(n_levels)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return (B, n_out, h, w) for the finest ``n_levels``, finest first."""
        raised: list[Tensor] = []
        for inner, seen in zip(
            reversed(self.inner_blocks), reversed(features), strict=True
        ):
            level = inner(seen)
            if raised:
                level = level + functional.interpolate(
                    raised[-1], size=level.shape[-2:], mode="nearest"
                )
            raised.append(level)
        levels = zip(self.layer_blocks, reversed(raised), strict=False)
        return tuple(layer(level) for layer, level in levels)


def _conv(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv)
