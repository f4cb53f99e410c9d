"""Small parts that networks share: convolution blocks, upsampling, conv-bn fusion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

GREY = (127.5, 127.5, 127.5)
"""Mean and half range of a pixel: standardised by it, inputs lie in -1 to 1."""


class ConvBlock(nn.Sequential):
    """Same-size k x k convolution, batch norm, ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        )


class DepthwiseConv(nn.Conv2d):
    """A k x k filter for each channel; on a CPU never in half precision.

    There the backward pass of bfloat16 takes three to fifteen times as long as that of
    float32 if the kernel is 5 x 5 or strides, a quarter of all steps' time.
    """

    def __init__(
        self, n_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(
            n_channels,
            n_channels,
            kernel,
            stride,
            dilation * (kernel // 2),
            dilation,
            groups=n_channels,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H / stride, W / stride)."""
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that stays as it was loaded, in training too.

    Under the names of a batch norm, but nothing of it is a parameter: so it stays also
    where an encoder is thawed.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        del self.weight, self.bias
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) by the stored statistics."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


def raised(x: Tensor, to: Tensor) -> Tensor:
    """Return features (B, C, h, w) at the height and width of others, bilinearly."""
    return functional.interpolate(
        x, size=to.shape[-2:], mode="bilinear", align_corners=False
    )


class Rise(nn.Module):
    """Upsample to a skip's size, append the skip, convolve twice: U-Net's way up."""

    def __init__(self, n_in: int, n_skip: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            ConvBlock(n_in + n_skip, n_out), ConvBlock(n_out, n_out)
        )

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Merge (B, n_in, h, w) with (B, n_skip, H, W) to (B, n_out, H, W)."""
        raised = functional.interpolate(deep, size=skip.shape[-2:], mode="nearest")
        merged: Tensor = self.conv(torch.cat((raised, skip), dim=1))
        return merged


class WayUp(nn.ModuleList):
    """U-Net's way up from an encoder's deepest features, a `Rise` for each skip.

    ``features`` are the encoder's channels from the finest to the coarsest, ``widths``
    those of the way up from the coarsest on; spare ones are not used.
    """

    def __init__(self, features: Sequence[int], widths: Sequence[int]) -> None:
        deep = (features[-1], *widths)
        rows = zip(deep, features[-2::-1], widths, strict=False)
        super().__init__(Rise(*row) for row in rows)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map the encoder's features, finest first, to one at the finest's size."""
        *skips, x = features
        for block, skip in zip(self, reversed(skips), strict=True):
            x = block(x, skip)
        return x


class Standardise(nn.Module):
    """Float RGB in [0, 255] to zero mean and unit variance by fixed constants."""

    def __init__(
        self, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        super().__init__()
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(shape), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, rgb: Tensor) -> Tensor:
        """Standardise (B, 3, H, W)."""
        return (rgb - self.mean) / self.std


def centred(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the middle of (..., H, W) that is as high and wide as ``shape`` ends."""
    height, width = shape[-2:]
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


_PLAIN_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)
"""Batch norms that do nothing else; others may apply an activation too, as timm's."""


def fuse_conv_bn(module: nn.Module) -> nn.Module:
    """Fold every plain batch norm into the convolution right before it, in place.

    A pair is recognised by the order of registration, so a module must register each
    batch norm directly after the convolution that feeds it. For evaluation only: the
    module must be in eval mode.
    """
    previous: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if (
            previous is not None
            and isinstance(child, nn.BatchNorm2d)
            and type(child) in _PLAIN_NORMS
        ):
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        fuse_conv_bn(child)
        previous = (name, child) if isinstance(child, nn.Conv2d) else None
    return module
