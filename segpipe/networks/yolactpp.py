"""YOLACT++: one pass gives boxes, coefficients and the prototypes that masks are of.

::

    encoder ─► pyramid, strides 8 16 32 ─► head: class, box, k coefficients an anchor
                      └─► protonet ─► k prototypes, shared by all masks

As in the paper: the pyramid and a head shared by its levels, prototypes in parallel,
fast suppression, three scales of anchors a level, deformable convolutions in the later
stages of the ResNets (``yolactpp:resnet50``, ``yolactpp:resnet101``; ``-nodcn`` behind
the name leaves them out), and a small network that rates masks.

Not as in the paper: anchors fit nuclei of 8 to 64 px, so levels at stride 64 and 128
are left out; prototypes are at half the input's resolution, sharpened by the encoder's
first features, since a nucleus is a dozen pixels wide; masks are assembled and rated in
windows around their boxes; suppression and rating don't tell types apart, as a nucleus
is found once; ``yolactpp`` itself stands on EfficientNet-Lite0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from segpipe.decoding.limits import check_limits
from segpipe.errors import UnknownNetwork
from segpipe.labels.detections import Detections, Unpacked
from segpipe.labels.masks import in_tight_boxes, one_piece
from segpipe.networks import _boxes
from segpipe.networks._deformable import DeformableConv
from segpipe.networks._encoders import ENCODERS, encoder
from segpipe.networks._finite import check_finite
from segpipe.networks._instances import LIMITS, instance_targets
from segpipe.networks._layers import Standardise
from segpipe.networks._network import Detector, Outputs, Window
from segpipe.networks._prototypes import assembled
from segpipe.networks._resnet import BLOCKS, FPN, MEAN, STD, Place, ResNet, plain_conv
from segpipe.networks._yolactpp_losses import terms
from segpipe.networks._yolactpp_parts import (
    CODING,
    STRIDES,
    Head,
    MaskRating,
    Protonet,
    Raw,
    anchors_of,
    rating_of,
)

LIGHT = "efficientnet_lite0"
WIDTH = 256
"""Channels of the pyramid."""
LIGHT_WIDTH = 96
"""On a small encoder."""
INTERVALS = {"resnet50": 1, "resnet101": 3}
"""One in so many 3 x 3 convolutions is deformable (section 6.1)."""
PLAIN = "-nodcn"
N_CANDIDATES = 4096
"""Best anchors of an input that suppression looks at; see ``detect``."""
N_KEPT = 1024
"""Best of what it leaves."""


class YolactPP(nn.Module):
    """Float RGB (B, 3, H, W) in [0, 255], H and W multiples of 32, to ``Raw``."""

    def __init__(
        self, n_types: int, *, on: str = LIGHT, deformable: bool = True
    ) -> None:
        super().__init__()
        self.standardise, self.encoder, width = _encoder(on, deformable=deformable)
        widths: tuple[int, ...] = self.encoder.widths  # type: ignore[assignment]
        self.pyramid = FPN(widths[2:], width, len(STRIDES))
        self.protonet = Protonet(width, widths[:2])
        self.head = Head(width, max(1, n_types))
        self.semantic = nn.Conv2d(width, max(1, n_types), 1)
        self.rating = MaskRating()
        self.is_typed = n_types > 0

    def forward(self, rgb: Tensor) -> Outputs:
        """Return the fields of ``Raw``."""
        first, second, *deep = self.encoder(self.standardise(rgb))
        levels = [level.relu() for level in self.pyramid(deep)]
        prototypes = self.protonet(levels[0], first, second)
        classes, offsets, coefficients = self.head(levels)
        semantic = self.semantic(levels[0])
        return Raw(classes, offsets, coefficients, prototypes, semantic)


def _encoder(on: str, *, deformable: bool) -> tuple[nn.Module, nn.Module, int]:
    """Return what feeds an encoder, the encoder, and the width of its pyramid."""
    if on not in BLOCKS:
        chosen = encoder(on)
        return chosen.standardise(), chosen.build(), LIGHT_WIDTH
    return Standardise(MEAN, STD), YolactResNet(on, deformable=deformable), WIDTH


class YolactResNet(ResNet):
    """A ResNet with deformable convolutions in the last three stages."""

    def __init__(self, name: str, *, deformable: bool) -> None:
        def conv3x3(place: Place) -> nn.Module:
            if not deformable or place.stage == 0 or place.block % INTERVALS[name]:
                return plain_conv(place)
            return DeformableConv(place.width, place.width, stride=place.stride)

        super().__init__(BLOCKS[name], conv3x3=conv3x3)

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Take torchvision's ImageNet weights; what moves the taps stays as it is.

        Raises
        ------
        WeightsError
            If names or shapes are not those of this ResNet.
        """
        own = self.state_dict()
        super().load_imagenet({**state, **{n: own[n] for n in own if ".taps." in n}})


@dataclass(frozen=True, slots=True, kw_only=True)
class YolactDecoding:
    """Constants of ``detect``."""

    CHOICES: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "least_score": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        "double_iou": (0.3, 0.4, 0.5, 0.6),
    }
    least_score: float = 0.3
    """Chance of a nucleus times rated IoU, from which on it is a detection."""
    double_iou: float = 0.5
    """Of boxes that overlap more, the less likely one goes."""
    vouch_px: int = 16
    """How far outside its core a window vouches for centres."""
    edge_px: int = 2
    """A mask that ends this near to the border of the input is taken for cut."""

    def __post_init__(self) -> None:
        check_limits(self, LIMITS, "YOLACT++")

    @property
    def support_px(self) -> int:
        """Nothing is decoded from maps."""
        return 0


class Found(NamedTuple):
    """What the boxes of an input say, before masks are assembled; best first."""

    boxes: Tensor
    """(N, 4)."""
    chance: Tensor
    """(N,) of a nucleus."""
    kind: Tensor
    """(N,) int64: class, from 1."""
    coefficients: Tensor
    """(N, k)."""


@torch.no_grad()
def detect(
    module: nn.Module, outputs: Outputs, decoding: YolactDecoding
) -> list[Detections]:
    """Return the nuclei of each input of a batch, best first.

    Of the anchors that are at least ``least_score`` likely, the ``N_CANDIDATES`` best
    are candidates, and of those that suppression leaves the ``N_KEPT`` best get masks.
    The densest tissue has some 760 nuclei in an input of 512 px, and a trained network
    is sure of about three anchors for each, so neither number binds there. They bound
    time and memory where a network sees nuclei everywhere.

    Raises
    ------
    MapsInvalid
        If a rated mask is no finite number.
    """
    raw = Raw(*outputs)
    height, width = (2 * side for side in raw.prototypes.shape[2:])
    anchors = anchors_of(height, width, raw.classes.device)
    rows = [Raw(*one) for one in zip(*raw, strict=True)]
    return [_nuclei(module, one, anchors, decoding) for one in rows]


def found_of(raw: Raw, anchors: Tensor, decoding: YolactDecoding) -> Found:
    """Return the boxes of one input that are left of its anchors."""
    chance = 1 - raw.classes.softmax(dim=1)[:, 0]
    rows = (chance >= decoding.least_score).nonzero()[:, 0]
    order = chance[rows].argsort(descending=True, stable=True)
    rows = rows[order[:N_CANDIDATES]]
    height, width = (2 * side for side in raw.prototypes.shape[1:])
    boxes = _boxes.decode(raw.offsets[rows], anchors[rows], CODING)
    boxes = _boxes.clipped(boxes, height, width)
    whole = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) >= 1
    rows, boxes = rows[whole], boxes[whole]
    left = _boxes.fast_nms(boxes, chance[rows], decoding.double_iou)[:N_KEPT]
    rows = rows[left]
    return Found(
        boxes=boxes[left],
        chance=chance[rows],
        kind=1 + raw.classes[rows, 1:].argmax(dim=1),
        coefficients=raw.coefficients[rows].tanh(),
    )


def _nuclei(
    module: nn.Module, raw: Raw, anchors: Tensor, decoding: YolactDecoding
) -> Detections:
    """Assemble, rate and pack the masks of one input."""
    found = found_of(raw, anchors, decoding)
    score = found.chance.clone()
    windows, firsts = (
        np.zeros((len(score), 4), np.int64),
        np.zeros(len(score), np.int64),
    )
    pixels, n_pixels = [np.zeros(0, np.uint8)], 0
    for masks in assembled(raw.prototypes, found.coefficients, found.boxes):
        score[masks.rows] *= rating_of(module, masks, found.boxes[masks.rows])
        solid = ((masks.logits > 0) & masks.inside).cpu().numpy()
        rows = masks.rows.cpu().numpy()
        windows[rows] = np.tile(masks.corner.cpu().numpy(), 2)
        windows[rows, 2:] += solid.shape[1:]
        firsts[rows] = n_pixels + np.arange(len(rows)) * solid[0].size
        pixels.append(solid.ravel().view(np.uint8))
        n_pixels += solid.size
    check_finite(score, "rating of masks")
    best = score.argsort(descending=True, stable=True)
    best = best[score[best] >= decoding.least_score]
    kind = found.kind[best] if module.is_typed else torch.zeros_like(best)
    rows = best.cpu().numpy()
    said = in_tight_boxes(
        Unpacked(windows[rows], np.concatenate(pixels), firsts[rows]),
        (255 * score[best]).round().to(torch.uint8).cpu().numpy(),
        kind.to(torch.uint8).cpu().numpy(),
    )
    return one_piece(said)[0]


def loss(
    module: nn.Module, outputs: Outputs, targets: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the loss terms of a batch."""
    return terms(module, Raw(*outputs), targets)


NETWORK = Detector(
    name="yolactpp",
    paper=(
        "Bolya, Zhou, Xiao and Lee 2020, YOLACT++: Better Real-Time Instance "
        "Segmentation, IEEE Transactions on Pattern Analysis and Machine Intelligence "
        "44(2):1108-1121"
    ),
    mpp=0.5,
    window=Window(input_px=512, output_px=384),
    step_px=32,
    activation_bytes_per_px=700,
    build=YolactPP,
    decoding=YolactDecoding,
    targets=instance_targets,
    detect=detect,
    loss=loss,
)

VARIANTS = ("mobilenetv2", "resnet50", "resnet101")


@cache
def variant(name: str) -> Detector:
    """Return the network on another encoder, by ``-nodcn`` without deformable taps.

    Raises
    ------
    UnknownNetwork
        If there is no such encoder.
    """
    on = name.removesuffix(PLAIN)
    if on not in {*BLOCKS, *ENCODERS} or (on != name and on not in BLOCKS):
        message = (
            f"There is no yolactpp:{name}. There are: {', '.join(BLOCKS)}, each also "
            f"with {PLAIN}, and {', '.join(ENCODERS)}."
        )
        raise UnknownNetwork(message)
    build: Callable[[int], nn.Module] = partial(YolactPP, on=on, deformable=on == name)
    return replace(NETWORK, name=f"yolactpp:{name}", build=build)
