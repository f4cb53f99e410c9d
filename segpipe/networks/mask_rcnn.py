"""Mask R-CNN: boxes are proposed, then each is asked for its class, place and mask.

As in the paper: region proposals on a feature pyramid, RoIAlign, a head for classes and
boxes and a small convolutional one for masks, of which each class has its own, binary
by a sigmoid. ``mask_rcnn`` stands on EfficientNet-Lite0 with light heads, for machines
without a GPU, as ``mask_rcnn:mobilenetv2`` does; ``mask_rcnn:resnet50`` and
``mask_rcnn:resnet101`` are the paper's. Modules bear torchvision's names, so its COCO
weights load into ``mask_rcnn:resnet50`` as they are (``encoder_weights``).

Behind a name there may be: ``-roipool``, RoIPool in place of RoIAlign; ``-softmax``,
masks that compete with each other; ``-edges``, an edge map seen beside the image;
``-frozen``, batch norms of a ResNet that stay as they were loaded; ``-coco``, anchors
and sampling points where torchvision has them.

Not as in the paper: anchors fit nuclei of 8 to 64 px; the score is that of being any
nucleus, so a nucleus is found once, with the likeliest of its types; and the limits on
proposals and detections are those of dense tissue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from segpipe.decoding.limits import check_limits
from segpipe.errors import UnknownNetwork
from segpipe.labels.detections import Detections
from segpipe.networks._boxes import clipped, decode, first_served, iou, nms
from segpipe.networks._encoders import ENCODERS
from segpipe.networks._finite import check_finite
from segpipe.networks._instances import (
    LIMITS,
    detections_of,
    instance_targets,
    sampled,
    truth_of,
)
from segpipe.networks._mask_rcnn_losses import (
    BOX_WEIGHTS,
    roi_terms,
    rpn_terms,
    sampled_boxes,
)
from segpipe.networks._mask_rcnn_module import (
    COARSEST,
    COCO,
    SIDES,
    Build,
    MaskRCNN,
    fed_shape,
)
from segpipe.networks._network import Detector, Outputs, Window
from segpipe.networks._resnet import BLOCKS
from segpipe.networks._rpn import Anchors

MOST = 1000
"""Detections of an input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRCNNDecoding:
    """Which boxes are nuclei."""

    CHOICES: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "least_score": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        "double_iou": (0.3, 0.4, 0.5, 0.6),
        "least_mask": (0.4, 0.5, 0.6),
    }

    least_score: float = 0.5
    """Least probability of being a nucleus."""
    double_iou: float = 0.4
    """Boxes that share more are doubles, the lower scored to go."""
    least_mask: float = 0.5
    """Least probability of a pixel of the mask."""
    alike: float = 1.0
    """Boxes that overlap at all are doubles also if the cosine between what their
    classes are told from is above this; at 1 none is."""
    vouch_px: int = 16
    """How far outside its core a window vouches for centres."""
    edge_px: int = 2
    """A mask that ends this near to the border of the input is taken for cut."""

    def __post_init__(self) -> None:
        limits = {**LIMITS, "least_mask": (0.0, 1.0), "alike": (-1.0, 1.0)}
        check_limits(self, limits, "Mask R-CNN")

    @property
    def support_px(self) -> int:
        """None: nuclei come whole."""
        return 0


@torch.no_grad()
def detect(
    module: nn.Module, outputs: Outputs, decoding: MaskRCNNDecoding
) -> list[Detections]:
    """Return the nuclei of each input, best first.

    Raises
    ------
    MapsInvalid
        If what the second stage says is no finite number.
    """
    assert isinstance(module, MaskRCNN)  # noqa: S101 - of this network's build
    each = zip(*(torch.split(out, 1) for out in outputs), strict=True)
    return [_detect_one(module, one, decoding) for one in each]


def _detect_one(
    module: MaskRCNN, outputs: Outputs, decoding: MaskRCNNDecoding
) -> Detections:
    """Ask for the boxes of one input, whatever else is in the batch."""
    _, _, *levels = outputs
    boxes = module.proposals(outputs)[0]
    at = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    logits, offsets, seen = module.classes_of(levels, boxes, at)
    check_finite(logits, "classes of boxes")
    check_finite(offsets, "offsets of boxes")
    scores = 1 - logits.softmax(dim=1)[:, 0]
    kinds = logits[:, 1:].argmax(dim=1) + 1
    nth = torch.arange(len(kinds), device=kinds.device)
    height, width = fed_shape(levels)
    boxes = decode(offsets[nth, kinds], boxes, BOX_WEIGHTS)
    boxes = clipped(boxes, height, width)
    good = (scores >= decoding.least_score).nonzero()[:, 0]
    left = good[_singles(boxes[good], scores[good], seen[good], decoding)][:MOST]
    boxes, kinds = boxes[left], kinds[left]
    probs = module.mask_probs(levels, boxes, kinds)
    return detections_of(
        boxes,
        scores[left],
        kinds if module.n_types else torch.zeros_like(kinds),
        partial(_is_inside, Masks(probs, boxes, decoding.least_mask)),
        height=height,
        width=width,
    )


def _singles(
    boxes: Tensor, scores: Tensor, seen: Tensor, decoding: MaskRCNNDecoding
) -> Tensor:
    """Return the rows that are left without doubles, best first."""
    if decoding.alike >= 1:
        return nms(boxes, scores, decoding.double_iou)
    order = scores.argsort(descending=True, stable=True)
    shared = iou(boxes[order], boxes[order])
    looks = functional.normalize(seen[order], dim=1)
    alike = (looks @ looks.T > decoding.alike) & (shared > 0)
    return order[first_served(alike | (shared > decoding.double_iou))]


class Masks(NamedTuple):
    """Masks in the cells of boxes."""

    probs: Tensor
    """(N, m, m)."""
    boxes: Tensor
    """(N, 4)."""
    least: float
    """Probability from which on a pixel is inside."""


def _is_inside(masks: Masks, row: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Tell whether pixels are in masks."""
    boxes = masks.boxes
    cells = masks.probs.shape[-1] / (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    across = (x + 0.5 - boxes[row, 0]) * cells[row, 0]
    down = (y + 0.5 - boxes[row, 1]) * cells[row, 1]
    return sampled(masks.probs, row, down, across) >= masks.least


def loss(
    module: nn.Module, outputs: Outputs, targets: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the terms of both stages; draws anchors and boxes by torch's generator."""
    assert isinstance(module, MaskRCNN)  # noqa: S101 - of this network's build
    objectness, offsets, *levels = (out.float() for out in outputs)
    truth = truth_of(targets, module.n_types)
    anchors = torch.cat(module.anchors(levels))
    first = rpn_terms(objectness, offsets, anchors, truth)
    with torch.no_grad():
        sample = sampled_boxes(module.proposals(outputs), truth)
    return {**first, **roi_terms(module, levels, sample, truth.labels)}


def _heavy(on: str) -> Build:
    """Return the paper's build on a ResNet."""
    return Build(
        on=on,
        width=256,
        box_width=1024,
        mask_widths=(256,) * 4,
        anchors=Anchors(sides=(*SIDES, COARSEST)),
        n_levels=4,
    )


OPTIONS: Mapping[str, Callable[[Build], Build]] = {
    "roipool": partial(replace, pools=True),
    "softmax": partial(replace, softmax_masks=True),
    "edges": partial(replace, edges=True),
    "frozen": partial(replace, frozen=True),
    "coco": partial(replace, anchors=COCO, aligned=False),
}
"""What may stand behind a name, and what it changes."""
VARIANTS = ("mobilenetv2", "resnet50", "resnet101")


@cache
def variant(name: str) -> Detector:
    """Return another build, like ``"mask_rcnn:resnet50-roipool"``.

    Raises
    ------
    UnknownNetwork
        If there is no such encoder or option.
    """
    on, *options = name.split("-")
    heavy, unknown = on in BLOCKS, [o for o in options if o not in OPTIONS]
    of_resnets = [o for o in options if o in {"frozen", "coco"}]
    if unknown or not (heavy or on in ENCODERS) or (of_resnets and not heavy):
        message = (
            f"There is no mask_rcnn:{name}. There are {', '.join((*BLOCKS, *ENCODERS))}"
            f", each with any of -{', -'.join(OPTIONS)}; the last two for ResNets."
        )
        raise UnknownNetwork(message)
    build = _heavy(on) if heavy else Build(on=on)
    for option in options:
        build = OPTIONS[option](build)
    return replace(
        NETWORK,
        name=f"mask_rcnn:{name}",
        activation_bytes_per_px=1500 if heavy else NETWORK.activation_bytes_per_px,
        build=partial(MaskRCNN, build=build),
    )


NETWORK = Detector(
    name="mask_rcnn",
    paper=(
        "He, Gkioxari, Dollár and Girshick 2017, Mask R-CNN, ICCV, 2961-2969, on the "
        "pyramid of Lin et al. 2017"
    ),
    mpp=0.5,
    window=Window(input_px=512, output_px=384),
    step_px=32,
    activation_bytes_per_px=900,
    build=partial(MaskRCNN, build=Build()),
    decoding=MaskRCNNDecoding,
    targets=instance_targets,
    detect=detect,
    loss=loss,
)
