"""DeepLabV3+: atrous convolutions that see far at one resolution, and a light decoder.

As in the paper: an encoder whose last strides are traded for dilation; atrous spatial
pyramid pooling (ASPP) of a 1x1, three dilated separable and an image-pooled branch;
four times upsampled, next to 48 channels of low-level features, refined by two
separable convolutions, and upsampled by four again. ``deeplabv3plus`` stands on the
paper's modified aligned Xception-65; ``deeplabv3plus:mobilenetv2`` and
``deeplabv3plus:efficientnet_lite0`` suit small machines. ``-os8`` behind a name halves
the output stride from 16 to 8; before it ``-flat`` leaves the dilated branches out, and
``-near`` halves their dilations.

Not as in the paper: besides the classes there is a map of outlines, or nuclei that
touch would be one. The maps come at a fourth of the input's resolution before they are
upsampled, hence 0.25 micrometres per pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from segpipe.decoding.boundary import ContourDecoding
from segpipe.errors import UnknownNetwork
from segpipe.networks import contour
from segpipe.networks._encoders import ENCODERS, encoder
from segpipe.networks._layers import GREY, ConvBlock, DepthwiseConv, Standardise, raised
from segpipe.networks._network import Network, Window

RATES = (6, 12, 18)
"""Dilations of ASPP at output stride 16; twice as large at 8."""
WIDTH = 256
"""Channels of ASPP's branches and of the decoder."""
LOW_LEVEL = 48
"""Channels kept of the features at stride 4."""
MIDDLE_BLOCKS = 16
"""Of Xception-65's middle flow."""
XCEPTION = "xception"
FINER = "-os8"
PYRAMIDS: Mapping[str, tuple[int, ...]] = {"-flat": (), "-near": (3, 6, 9)}
"""Other rates of ASPP, by what stands behind a name."""


class SeparableConv(nn.Sequential):
    """Depthwise 3x3, dilated, then pointwise; a batch norm and a ReLU after each."""

    def __init__(
        self, n_in: int, n_out: int, *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(
            DepthwiseConv(n_in, 3, stride=stride, dilation=dilation),
            nn.BatchNorm2d(n_in),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_in, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        )


class XceptionBlock(nn.Module):
    """Three separable convolutions beside a shortcut; the last one may stride."""

    def __init__(self, widths: Sequence[int], *, stride: int = 1) -> None:
        super().__init__()
        n_in, n_out = widths[0], widths[-1]
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )
        self.convolutions = nn.Sequential(
            SeparableConv(widths[0], widths[1]),
            SeparableConv(widths[1], widths[2]),
            SeparableConv(widths[2], widths[3], stride=stride),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, h, w) to (B, n_out, h / stride, w / stride)."""
        added: Tensor = self.convolutions(x) + self.shortcut(x)
        return added


class AlignedXception(nn.Module):
    """Xception-65 with strided separable convolutions where Xception pools."""

    def __init__(self) -> None:
        super().__init__()
        self.widths = (128, 2048)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            ConvBlock(32, 64),
        )
        self.low = XceptionBlock((64, 128, 128, 128), stride=2)
        self.deep = nn.Sequential(
            XceptionBlock((128, 256, 256, 256), stride=2),
            XceptionBlock((256, 728, 728, 728), stride=2),
            *(XceptionBlock((728, 728, 728, 728)) for _ in range(MIDDLE_BLOCKS)),
            XceptionBlock((728, 728, 1024, 1024), stride=2),
            SeparableConv(1024, 1536),
            SeparableConv(1536, 1536),
            SeparableConv(1536, 2048),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, H, W) to the features at stride 4 and the deepest ones."""
        low = self.low(self.stem(x))
        return low, self.deep(low)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: one place seen at five scales.

    ``rates`` are the dilations of the separable branches; without any there is no
    pyramid but the 1x1 and the image-pooled branch.
    """

    def __init__(self, n_in: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                ConvBlock(n_in, WIDTH, kernel=1),
                *(SeparableConv(n_in, WIDTH, dilation=rate) for rate in rates),
            ]
        )
        # No batch norm: of one pooled pixel a patch it would learn nothing sound.
        self.pooled = nn.Sequential(nn.Conv2d(n_in, WIDTH, 1), nn.ReLU(inplace=True))
        self.project = ConvBlock((2 + len(rates)) * WIDTH, WIDTH, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_in, h, w) to (B, 256, h, w)."""
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(
            -1, -1, *x.shape[-2:]
        )
        seen = torch.cat([*(branch(x) for branch in self.branches), pooled], dim=1)
        projected: Tensor = self.project(seen)
        return projected


class DeepLabV3Plus(nn.Module):
    """Float RGB (B, 3, H, W) in [0, 255], H and W multiples of 32, to raw heads."""

    def __init__(
        self,
        n_types: int,
        *,
        on: str = XCEPTION,
        output_stride: int = 16,
        rates: Sequence[int] = RATES,
    ) -> None:
        super().__init__()
        self.standardise, self.encoder = _encoder(on)
        dilate(self.encoder, output_stride)
        widths: tuple[int, ...] = self.encoder.widths  # type: ignore[assignment]
        self._low_at = 0 if on == XCEPTION else 1
        low, deep = widths[self._low_at], widths[-1]
        self.aspp = ASPP(deep, [rate * 16 // output_stride for rate in rates])
        self.low = ConvBlock(low, LOW_LEVEL, kernel=1)
        self.refine = nn.Sequential(
            SeparableConv(WIDTH + LOW_LEVEL, WIDTH), SeparableConv(WIDTH, WIDTH)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(WIDTH, head.n_channels, 1) for head in contour.heads(n_types)
        )

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return one (B, n_channels, H, W) per head, before activation."""
        features = self.encoder(self.standardise(rgb))
        low, deep = features[self._low_at], features[-1]
        merged = torch.cat((raised(self.aspp(deep), low), self.low(low)), dim=1)
        refined = self.refine(merged)
        return tuple(raised(head(refined), rgb) for head in self.heads)


def _encoder(name: str) -> tuple[Standardise, nn.Module]:
    """Return what feeds an encoder, and the encoder.

    Xception gives the features at stride 4 and the deepest ones, others five levels.
    """
    if name == XCEPTION:
        return Standardise(GREY, GREY), AlignedXception()
    chosen = encoder(name)
    return chosen.standardise(), chosen.build()


def dilate(encoder: nn.Module, output_stride: int) -> None:
    """Trade the strides beyond ``output_stride`` for dilation, in place.

    Where a convolution loses its stride, those after it see twice as far apart. Relies
    on convolutions being registered in the order they are applied, a shortcut's before
    those it bridges.
    """
    stride, dilation = 1, 1
    for conv in encoder.modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        strides, is_point = conv.stride[0] > 1, conv.kernel_size == (1, 1)
        if not is_point:
            conv.dilation = (dilation, dilation)
            reach = dilation * (conv.kernel_size[0] // 2)
            conv.padding = (reach, reach)
        if strides and stride >= output_stride:
            conv.stride = (1, 1)
            dilation *= 1 if is_point else 2
        elif strides and not is_point:
            stride *= 2


NETWORK = Network(
    name="deeplabv3plus",
    paper=(
        "Chen, Zhu, Papandreou, Schroff and Adam 2018, Encoder-Decoder with Atrous "
        "Separable Convolution for Semantic Image Segmentation, ECCV, 833-851"
    ),
    mpp=0.25,
    window=Window(input_px=768, output_px=512),
    step_px=32,
    activation_bytes_per_px=700,
    heads=contour.heads,
    build=DeepLabV3Plus,
    decoding=ContourDecoding,
    decode=contour.decode,
    targets=contour.make_targets,
    loss=contour.loss,
)

VARIANTS = ("mobilenetv2", "efficientnet_lite0")


@cache
def variant(name: str) -> Network:
    """Return the network on another encoder, at output stride 8 by ``-os8``.

    Raises
    ------
    UnknownNetwork
        If there is no such encoder.
    """
    on = name.removesuffix(FINER)
    pyramid = next((suffix for suffix in PYRAMIDS if on.endswith(suffix)), "")
    on = on.removesuffix(pyramid)
    if on not in {XCEPTION, *ENCODERS}:
        message = (
            f"There is no deeplabv3plus:{name}. There are: {XCEPTION}, "
            f"{', '.join(ENCODERS)}; each also with {', '.join(PYRAMIDS)} or {FINER}."
        )
        raise UnknownNetwork(message)
    build: Callable[[int], nn.Module] = partial(
        DeepLabV3Plus,
        on=on,
        output_stride=8 if name.endswith(FINER) else 16,
        rates=PYRAMIDS.get(pyramid, RATES),
    )
    return replace(NETWORK, name=f"deeplabv3plus:{name}", build=build)
