"""Mask R-CNN's module: encoder, pyramid, proposals, and the heads that boxes are asked.

torchvision's names, so that its weights fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from segpipe.networks._coco import is_coco, load_coco
from segpipe.networks._encoders import encoder
from segpipe.networks._finite import check_finite
from segpipe.networks._layers import FrozenBatchNorm2d, Standardise
from segpipe.networks._network import Outputs
from segpipe.networks._resnet import BLOCKS, FPN, MEAN, STD, ResNet
from segpipe.networks._roi import Regions, levels_of, roi_align, roi_pool
from segpipe.networks._roi_heads import BOX_PX, MASK_PX, RoIHeads
from segpipe.networks._rpn import RPN, Anchors, Limits, proposals

SIDES = ((10.0, 14.0, 20.0), (28.0, 40.0, 56.0), (80.0, 112.0, 160.0))
"""Anchors at strides 4, 8 and 16, half an octave apart; nuclei have the first two."""
NUCLEI = Anchors(sides=SIDES)
COARSEST = (224.0, 320.0, 448.0)
"""At stride 32, which the paper's pyramid has."""
COCO = Anchors(
    sides=((32.0,), (64.0,), (128.0,), (256.0,), (512.0,)),
    ratios=(0.5, 1.0, 2.0),
    centred=False,
)
LIMITS = Limits(n_before=4000, n_after=1500, iou=0.7)
"""Of 512 x 512 px, where there may be 700 nuclei."""
TOGETHER = 64
"""Boxes whose masks are made at a time: the paper's head takes 0.8 MB for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What Mask R-CNN is built of."""

    on: str = "efficientnet_lite0"
    """The encoder: one of ``BLOCKS``, or of ``ENCODERS``."""
    width: int = 96
    """Channels of the pyramid."""
    box_width: int = 256
    """Of the fully connected layers."""
    mask_widths: tuple[int, ...] = (64, 64)
    """Of the convolutions before the masks."""
    anchors: Anchors = NUCLEI
    n_levels: int = 3
    """Levels of the pyramid, from stride 4."""
    aligned: bool = True
    """Whether a feature's centre is half a place from its corner."""
    pools: bool = False
    """RoIPool instead of RoIAlign."""
    softmax_masks: bool = False
    edges: bool = False
    """An edge map is seen beside the image."""
    frozen: bool = False
    """Batch norms of a ResNet stay as they were loaded."""


class Backbone(nn.Module):
    """An encoder and the pyramid on it, under the names that weights know them by."""

    def __init__(self, body: nn.Module, build: Build) -> None:
        super().__init__()
        self.body = body
        widths: tuple[int, ...] = body.widths  # type: ignore[assignment]
        self.fpn = FPN(widths[1:], build.width, build.n_levels)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the levels (B, width, h, w), finest first."""
        levels: tuple[Tensor, ...] = self.fpn(self.body(image)[1:])
        return levels


class Edges(nn.Module):
    """Mixes an edge map into the image; at first it adds nothing.

    So the encoder still sees three channels, and published weights fit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4, 3, 3, padding=1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, rgb: Tensor) -> Tensor:
        """Return (B, 3, H, W) from the standardised image and RGB in [0, 255]."""
        seen = torch.cat((image, edge_map(rgb)), dim=1)
        mixed: Tensor = image + self.mix(seen)
        return mixed


def edge_map(rgb: Tensor) -> Tensor:
    """Return how steep the grey value is.

    Parameters
    ----------
    rgb : (B, 3, H, W)
        In [0, 255].

    Returns
    -------
    (B, 1, H, W)
        Length of the Sobel gradient; 1 at an edge from black to white.
    """
    grey = functional.pad(rgb.mean(dim=1, keepdim=True) / 255, (1,) * 4, "replicate")
    across = grey.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack((across, across.T))[:, None] / 4
    slopes = functional.conv2d(grey, kernels)
    return (slopes.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()


class MaskRCNN(nn.Module):
    """Float RGB (B, 3, H, W) in [0, 255], H and W multiples of 32, to dense outputs."""

    def __init__(self, n_types: int, *, build: Build) -> None:
        super().__init__()
        self.n_types = n_types
        self.softmax_masks = build.softmax_masks
        self._built = build
        n_classes = max(n_types, 1) + 1
        self.standardise, body = _encoder(build)
        self.edges = Edges() if build.edges else None
        self.backbone = Backbone(body, build)
        self.rpn = RPN(build.width, build.anchors.per_place)
        self.roi_heads = RoIHeads(
            build.width, build.box_width, build.mask_widths, n_classes
        )

    @property
    def encoder(self) -> nn.Module:
        """What ImageNet weights are for."""
        return self.backbone.body

    def load_published(self, state: Mapping[str, Tensor]) -> bool:
        """Take torchvision's weights of the whole network, if these are some.

        Raises
        ------
        WeightsError
            If they are of another build.
        """
        if is_coco(state):
            load_coco(self, state)
            return True
        return False

    def forward(self, rgb: Tensor) -> Outputs:
        """Return objectness (B, A), offsets (B, A, 4) and the pyramid's levels."""
        image = self.standardise(rgb)
        if self.edges is not None:
            image = self.edges(image, rgb)
        levels = self.backbone(image)
        asked = (*levels, *self._coarser(levels))
        return (*self.rpn.head(asked), *levels)

    def _coarser(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the levels that only anchors stand on, every second place each."""
        n_more, coarsest = len(self._built.anchors.sides) - len(levels), levels[-1]
        return [coarsest[..., :: 2**n, :: 2**n] for n in range(1, n_more + 1)]

    def anchors(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the anchors of each level, in the order of the outputs."""
        shapes = [level.shape[-2:] for level in levels]
        shapes += [level.shape[-2:] for level in self._coarser(levels)]
        strides = [4 * 2**n for n in range(len(shapes))]
        made = self._built.anchors.boxes(
            [(int(height), int(width)) for height, width in shapes], strides
        )
        return [anchors.to(levels[0].device) for anchors in made]

    def proposals(self, outputs: Outputs, limits: Limits = LIMITS) -> list[Tensor]:
        """Return the boxes (N, 4) of each image that are worth asking, best first."""
        objectness, offsets, *levels = outputs
        anchors, shape = self.anchors(levels), fed_shape(levels)
        return [
            proposals(of_image, offset.detach(), anchors, shape, limits)
            for of_image, offset in zip(objectness.detach(), offsets, strict=True)
        ]

    def pooled(
        self, levels: Sequence[Tensor], boxes: Tensor, image: Tensor, size: int
    ) -> Tensor:
        """Return the features (N, C, size, size) of boxes (N, 4) of a batch."""
        level = levels_of(boxes, len(levels))
        regions = Regions(boxes, image, level)
        strides = [4 * 2**n for n in range(len(levels))]
        if self._built.pools:
            return roi_pool(levels, regions, strides, size=size)
        return roi_align(
            levels, regions, strides, size=size, aligned=self._built.aligned
        )

    def classes_of(
        self, levels: Sequence[Tensor], boxes: Tensor, image: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what boxes hold.

        Parameters
        ----------
        levels
            The pyramid.
        boxes, image : (N, 4), (N,)
            Boxes, and whose they are.

        Returns
        -------
        logits : (N, K + 1)
            Of background and K classes.
        offsets : (N, K + 1, 4)
            To the box of each class.
        seen : (N, C)
            What both are told from.
        """
        pooled = self.pooled(levels, boxes, image, BOX_PX)
        seen = self.roi_heads.box_head(pooled)
        return (*self.roi_heads.box_predictor(seen), seen)

    def masks_of(
        self, levels: Sequence[Tensor], boxes: Tensor, image: Tensor
    ) -> Tensor:
        """Return the logits (N, K + 1, 28, 28) of the masks in boxes (N, 4)."""
        pooled = self.pooled(levels, boxes, image, MASK_PX)
        logits: Tensor = self.roi_heads.mask_predictor(self.roi_heads.mask_head(pooled))
        return logits

    def mask_probs(
        self, levels: Sequence[Tensor], boxes: Tensor, kinds: Tensor
    ) -> Tensor:
        """Return the masks (N, 28, 28) of boxes (N, 4) of one image, one class each.

        Raises
        ------
        MapsInvalid
            If a logit is no finite number.
        """
        parts = zip(
            torch.split(boxes, TOGETHER), torch.split(kinds, TOGETHER), strict=True
        )
        return torch.cat([self._mask_probs(levels, *part) for part in parts])

    def _mask_probs(
        self, levels: Sequence[Tensor], boxes: Tensor, kinds: Tensor
    ) -> Tensor:
        at = torch.zeros_like(kinds)
        logits = check_finite(self.masks_of(levels, boxes, at), "masks of boxes")
        nth = torch.arange(len(kinds), device=kinds.device)
        if self.softmax_masks:
            return logits.softmax(dim=1)[nth, kinds]
        return logits[nth, kinds].sigmoid()


def _encoder(build: Build) -> tuple[Standardise, nn.Module]:
    """Return what feeds an encoder, and the encoder."""
    if build.on in BLOCKS:
        norm = FrozenBatchNorm2d if build.frozen else nn.BatchNorm2d
        return Standardise(MEAN, STD), ResNet(BLOCKS[build.on], norm=norm)
    chosen = encoder(build.on)
    return chosen.standardise(), chosen.build()


def fed_shape(levels: Sequence[Tensor]) -> tuple[int, int]:
    """Return height and width of the input that a pyramid is of."""
    height, width = levels[0].shape[-2:]
    return 4 * height, 4 * width
