"""U-Net on an encoder that knows ImageNet: U-Net's targets, loss and decoding.

The encoder's features at five strides take the place of the contracting path; the
expanding path is padded and light. ``unet_transfer`` stands on EfficientNet-Lite0;
``unet_transfer:NAME`` on any encoder of ``ENCODERS``, or ``unet_transfer:timm-NAME`` on
one of timm's.

To compare how touching nuclei are parted, all else the same, there may be behind a
name: ``-flat``, narrow gaps weigh no more than other background; ``-contour`` and
``-hv``, the heads, targets, loss and decoding of ``contour`` and of ``hoverlite``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

from torch import Tensor, nn
from torch.nn import functional

from segpipe.decoding.boundary import RegionDecoding
from segpipe.decoding.hv import HVDecoding
from segpipe.networks import contour, hoverlite, unet
from segpipe.networks._encoders import Encoder, encoder
from segpipe.networks._layers import ConvBlock, WayUp
from segpipe.networks._network import Head, Network, Window

WIDTHS = (128, 64, 48, 32)
"""Channels of the decoder at strides 16, 8, 4 and 2."""
TOP = 16
"""Channels at full resolution."""
DEFAULT = "efficientnet_lite0"
VARIANTS = ("mobilenetv2",)


class TransferUNet(nn.Module):
    """Float RGB (B, 3, H, W) in [0, 255], H and W multiples of 32, to raw heads."""

    def __init__(
        self,
        n_types: int,
        *,
        on: Encoder,
        heads: Callable[[int], tuple[Head, ...]] = unet.heads,
    ) -> None:
        super().__init__()
        self.standardise = on.standardise()
        self.encoder = on.build()
        features: tuple[int, ...] = self.encoder.widths  # type: ignore[assignment]
        self.rise = WayUp(features, WIDTHS)
        self.top = ConvBlock(WIDTHS[len(self.rise) - 1], TOP)
        self.heads = nn.ModuleList(
            nn.Conv2d(TOP, head.n_channels, 1) for head in heads(n_types)
        )

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return one (B, n_channels, H, W) per head, before activation."""
        x = self.rise(self.encoder(self.standardise(rgb)))
        raised = functional.interpolate(x, size=rgb.shape[-2:], mode="nearest")
        top = self.top(raised)
        return tuple(head(top) for head in self.heads)


NETWORK = Network(
    name="unet_transfer",
    paper=f"{unet.PAPER}; on an ImageNet encoder, TernausNet (Iglovikov, Shvets 2018)",
    mpp=0.5,
    window=Window(input_px=640, output_px=512),
    step_px=32,
    heads=unet.heads,
    build=partial(TransferUNet, on=encoder(DEFAULT)),
    decoding=RegionDecoding,
    decode=unet.decode,
    targets=unet.make_targets,
    loss=unet.loss,
)


_COARSER = NETWORK.mpp / hoverlite.NETWORK.mpp
"""A pixel's side here in those of ``hoverlite``."""
PARTING: Mapping[str, Network] = {
    "flat": replace(NETWORK, targets=partial(unet.make_targets, gap_weight=0.0)),
    "contour": contour.NETWORK,
    "hv": replace(
        hoverlite.NETWORK,
        decoding=HVDecoding,
        targets=partial(
            hoverlite.make_targets,
            usual_area_px=hoverlite.USUAL_AREA_PX / _COARSER**2,
            touching_px=max(1, round(hoverlite.TOUCHING_PX / _COARSER)),
        ),
    ),
}
"""Whose way of parting nuclei a suffix stands for."""


@cache
def variant(name: str) -> Network:
    """Return the network on another encoder, or parting nuclei in another way.

    Raises
    ------
    UnknownNetwork
        If there is no such encoder.
    SettingsError
        If it is one of timm's and timm doesn't import.
    """
    base, _, suffix = name.rpartition("-")
    parting = PARTING.get(suffix, NETWORK)
    on = base if suffix in PARTING else name
    return replace(
        NETWORK,
        name=f"unet_transfer:{name}",
        heads=parting.heads,
        build=partial(TransferUNet, on=encoder(on), heads=parting.heads),
        decoding=parting.decoding,
        decode=parting.decode,
        targets=parting.targets,
        loss=parting.loss,
    )
