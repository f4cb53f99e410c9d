"""What Mask R-CNN is trained by: sampled anchors, sampled boxes, masks of the true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from segpipe.networks._boxes import UNIT, encode, matched
from segpipe.networks._instances import (
    UNKNOWN,
    Instances,
    Truth,
    masks_in_boxes,
    unsure_share,
)

ANCHORS, BOXES = 512, 256
"""Anchors and boxes of an image that are judged."""
POSITIVE_SHARE = 0.5
"""At most so many of them hold a nucleus."""
POSITIVE_IOU = 0.5
"""From here on an anchor, or a box, holds a nucleus. The paper has 0.7 for anchors; at
stride 4 no anchor of a nucleus of 8 px may reach it."""
NEGATIVE_IOU = 0.3
"""Below it an anchor is background. A box is wherever it isn't positive."""
UNSURE_SHARE = 0.3
"""With more unsure pixels than this nothing is background: what can't be trusted may
overlap it by as much as this."""
BETA = 1 / 9
"""Where the smooth L1 loss turns from square to straight."""
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of the second stage's offsets (Girshick 2015)."""


def _drawn(positive: Tensor, negative: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Draw rows of masks (A,) bool, up to n together."""
    some = _some(positive, int(n * POSITIVE_SHARE))
    return some, _some(negative, n - len(some))


def _some(chosen: Tensor, n: int) -> Tensor:
    rows = chosen.nonzero()[:, 0]
    return rows[torch.randperm(len(rows), device=rows.device)[:n]]


def rpn_terms(
    objectness: Tensor, offsets: Tensor, anchors: Tensor, truth: Truth
) -> dict[str, Tensor]:
    """Return the terms of the first stage.

    Parameters
    ----------
    objectness, offsets : (B, A), (B, A, 4)
    anchors : (A, 4)
    truth
        The batch.
    """
    logits, aims, errors = [], [], []
    for image in range(len(objectness)):
        true = truth.of_image(image).boxes
        match = matched(anchors, true)
        positive = match.best >= POSITIVE_IOU
        positive[match.row_of_true[match.best_of_true > 0]] = True
        negative = ~positive & (match.best < NEGATIVE_IOU)
        negative &= unsure_share(anchors, truth.unsure[image]) <= UNSURE_SHARE
        some, others = _drawn(positive, negative, ANCHORS)
        judged = torch.cat((some, others))
        logits.append(objectness[image, judged])
        aims.append(positive[judged].to(objectness))
        wanted = encode(true[match.row[some]], anchors[some], UNIT)
        errors.append(_smooth(offsets[image, some], wanted))
    all_logits, all_aims = torch.cat(logits), torch.cat(aims)
    n = max(len(all_logits), 1)
    bce = functional.binary_cross_entropy_with_logits(
        all_logits, all_aims, reduction="sum"
    )
    return {"rpn_objectness": bce / n, "rpn_box": torch.cat(errors).sum() / n}


def _smooth(offsets: Tensor, wanted: Tensor) -> Tensor:
    return functional.smooth_l1_loss(offsets, wanted, beta=BETA, reduction="none")


class Sample(NamedTuple):
    """Boxes that the second stage is judged by."""

    boxes: Tensor
    """(N, 4)."""
    image: Tensor
    """(N,)."""
    positive: Tensor
    """(N,) bool: it holds a nucleus."""
    instances: Instances
    """(N,): the nucleus, or any if it holds none."""


def sampled_boxes(proposed: Sequence[Tensor], truth: Truth) -> Sample:
    """Draw boxes from the proposals of each image, and from the true ones.

    Parameters
    ----------
    proposed
        (N, 4) of each image.
    truth
        The batch.
    """
    parts = []
    for image, boxes in enumerate(proposed):
        true = truth.of_image(image)
        boxes = torch.cat((boxes, true.boxes.to(boxes)))  # noqa: PLW2901
        match = matched(boxes, true.boxes)
        positive = match.best >= POSITIVE_IOU
        sure = unsure_share(boxes, truth.unsure[image]) <= UNSURE_SHARE
        rows = torch.cat(_drawn(positive, ~positive & sure, BOXES))
        held = true.take(match.row[rows]) if len(true) else _nothing(true, rows)
        at = torch.full_like(rows, image)
        parts.append(Sample(boxes[rows], at, positive[rows], held))
    boxes, at, positive = (
        torch.cat([part[index] for part in parts])  # type: ignore[misc]
        for index in range(3)
    )
    held = Instances.concatenated([part.instances for part in parts])
    return Sample(boxes, at, positive, held)


def _nothing(like: Instances, rows: Tensor) -> Instances:
    """Return as many instances of nothing as there are rows."""
    n = len(rows)
    return Instances(
        boxes=like.boxes.new_zeros((n, 4)),
        image=rows.new_zeros(n),
        label=rows.new_zeros(n),
        types=rows.new_zeros(n),
        trusted=rows.new_zeros(n, dtype=torch.bool),
    )


class Heads(Protocol):
    """What the second stage says of boxes."""

    softmax_masks: bool

    def classes_of(
        self, levels: Sequence[Tensor], boxes: Tensor, image: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (N, K + 1), offsets (N, K + 1, 4), and what they are from."""

    def masks_of(
        self, levels: Sequence[Tensor], boxes: Tensor, image: Tensor
    ) -> Tensor:
        """Return logits (N, K + 1, m, m)."""


def roi_terms(
    heads: Heads, levels: Sequence[Tensor], sample: Sample, labels: Tensor
) -> Mapping[str, Tensor]:
    """Return the terms of the second stage.

    Parameters
    ----------
    heads
        The second stage.
    levels
        The pyramid.
    sample
        N boxes.
    labels : (B, H, W) int64
        Label maps.
    """
    logits, offsets, _ = heads.classes_of(levels, sample.boxes, sample.image)
    # Untyped, all nuclei are of class 1; where one of several isn't known, the
    # likeliest learns where it is, and being any of them is right.
    known = sample.instances.types
    if logits.shape[1] == 2:
        known = torch.ones_like(known)
    kinds = torch.where(
        known == UNKNOWN, logits[:, 1:].detach().argmax(dim=1) + 1, known
    )
    n, some = max(len(logits), 1), sample.positive.nonzero()[:, 0]
    wanted = encode(sample.instances.boxes, sample.boxes, BOX_WEIGHTS)[some]
    found = offsets[some, kinds[some]]
    return {
        "class": _class_loss(logits, known * sample.positive, sample.positive) / n,
        "box": _smooth(found, wanted).sum() / n,
        "mask": _mask_loss(heads, levels, sample, labels, kinds, some),
    }


def _class_loss(logits: Tensor, known: Tensor, positive: Tensor) -> Tensor:
    """Sum the cross-entropy; a nucleus of unknown type may be of any."""
    log_p = functional.log_softmax(logits, dim=1)
    of_class = log_p.gather(1, known[:, None])[:, 0]
    of_any = log_p[:, 1:].logsumexp(dim=1)
    return -torch.where(positive & (known == UNKNOWN), of_any, of_class).sum()


def _mask_loss(  # noqa: PLR0913, PLR0917 - all of one call
    heads: Heads,
    levels: Sequence[Tensor],
    sample: Sample,
    labels: Tensor,
    kinds: Tensor,
    some: Tensor,
) -> Tensor:
    boxes, image = sample.boxes[some], sample.image[some]
    logits = heads.masks_of(levels, boxes, image)
    aim = masks_in_boxes(
        labels, image, sample.instances.label[some], boxes, logits.shape[-1]
    )
    n, nth = max(aim.numel(), 1), torch.arange(len(some), device=some.device)
    if heads.softmax_masks:
        log_p = functional.log_softmax(logits, dim=1)
        right = aim * log_p[nth, kinds[some]] + (1 - aim) * log_p[:, 0]
        return -right.sum() / n
    bce = functional.binary_cross_entropy_with_logits(
        logits[nth, kinds[some]], aim, reduction="sum"
    )
    return bce / n
