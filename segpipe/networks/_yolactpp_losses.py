"""YOLACT++'s loss: hard examples of classes, boxes, cropped masks and their rating.

Bolya et al. 2020, sections 3 and 6, whose weights these are. Positives are the anchors
that overlap a nucleus by half, and each nucleus's best anchor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from segpipe.networks import _boxes
from segpipe.networks._instances import (
    INSTANCES,
    UNKNOWN,
    Instances,
    Truth,
    truth_of,
    unsure_share,
)
from segpipe.networks._network import TYPE_HEAD
from segpipe.networks._prototypes import assembled
from segpipe.networks._yolactpp_parts import CODING, Raw, anchors_of, rating_of

BOX_WEIGHT = 1.5
MASK_WEIGHT = 6.125
RATING_WEIGHT = 25.0
POSITIVE_IOU = 0.5
NEGATIVE_IOU = 0.4
"""Anchors between the two are neither."""
NEGATIVES_PER_POSITIVE = 3
"""The hardest ones (Liu et al. 2016, *SSD*)."""
MOST_UNSURE = 0.5
"""Share of an anchor that may lie where nothing is known."""
LEAST_NEGATIVES = 32
"""Where there are few positives, or none."""
MASKS_PER_IMAGE = 256
"""Positives, drawn by chance, whose masks are assembled."""


class Matches(NamedTuple):
    """What anchors should say."""

    nucleus: Tensor
    """(A,) int64: row of the nucleus an anchor overlaps most."""
    positive: Tensor
    """(A,) bool: it should find that nucleus."""
    negative: Tensor
    """(A,) bool: it should say background."""


def terms(
    module: nn.Module, raw: Raw, targets: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the loss terms of a batch; see `Detector` for the targets."""
    n_classes = raw.semantic.shape[1]
    truth = truth_of(targets, n_classes if TYPE_HEAD in targets else 0)
    _, height, width = truth.labels.shape
    anchors = anchors_of(height, width, truth.labels.device)
    sums = [
        _of_image(module, Raw(*one), image_of(truth, index), anchors)
        for index, one in enumerate(zip(*raw, strict=True))
    ]
    box, classes, mask, rating, n_found, n_masks = torch.stack(sums).sum(dim=0)
    n_found, n_masks = n_found.clamp(min=1), n_masks.clamp(min=1)
    return {
        "class": classes / n_found,
        "box": BOX_WEIGHT * box / n_found,
        "mask": MASK_WEIGHT * mask / n_masks,
        "rating": RATING_WEIGHT * rating / n_masks,
        "semantic": _semantic_loss(raw.semantic, targets),
    }


class Image(NamedTuple):
    """What is known of an image of the batch."""

    labels: Tensor
    """(H, W)."""
    unsure: Tensor
    """(H, W) bool."""
    nuclei: Instances
    """All of them; the untrusted ones should be neither found nor missed."""


def image_of(truth: Truth, index: int) -> Image:
    """Return what is known of one image."""
    mine = (truth.instances.image == index).nonzero()[:, 0]
    return Image(truth.labels[index], truth.unsure[index], truth.instances.take(mine))


def _of_image(module: nn.Module, raw: Raw, image: Image, anchors: Tensor) -> Tensor:
    """Return the sums of four losses and the counts they are means over, (6,)."""
    matches = matched(image, anchors)
    found = matches.positive.nonzero()[:, 0]
    nucleus = matches.nucleus[found]
    boxes = _boxes.encode(image.nuclei.boxes[nucleus], anchors[found], CODING)
    box = functional.smooth_l1_loss(raw.offsets[found], boxes, reduction="sum")
    drawn = torch.randperm(len(found), device=found.device)[:MASKS_PER_IMAGE]
    said = raw.coefficients[found[drawn]].tanh()
    mask, rating = _mask_losses(module, raw, said, image, nucleus[drawn])
    classes = _class_loss(raw.classes, matches, image.nuclei.types)
    counts = box.new_tensor((len(found), len(drawn)))
    return torch.cat((torch.stack((box, classes, mask, rating)), counts))


def matched(image: Image, anchors: Tensor) -> Matches:
    """Say what each anchor should say.

    An anchor that overlaps an untrusted nucleus by ``NEGATIVE_IOU``, or half of which
    can't be judged, should say nothing in particular.
    """
    nuclei = image.nuclei
    height, width = image.labels.shape
    shown = _boxes.clipped(anchors, height, width)
    known = unsure_share(shown, image.unsure) < MOST_UNSURE
    nucleus = torch.zeros_like(known, dtype=torch.int64)
    if not len(nuclei):
        return Matches(nucleus, torch.zeros_like(known), known)
    match = _boxes.matched(anchors, nuclei.boxes)
    rows = torch.arange(len(nuclei), device=nucleus.device)
    best_for = torch.full_like(nucleus, -1).scatter_reduce(
        0, match.row_of_true, rows, "amax"
    )
    is_best = best_for >= 0
    nucleus = torch.where(is_best, best_for, match.row)
    positive = ((match.best >= POSITIVE_IOU) | is_best) & nuclei.trusted[nucleus]
    return Matches(nucleus, positive, known & (match.best < NEGATIVE_IOU) & ~is_best)


def _class_loss(classes: Tensor, matches: Matches, types: Tensor) -> Tensor:
    """Sum cross-entropy over positives and the hardest negatives.

    A nucleus of unknown type should be of any.
    """
    said = classes.log_softmax(dim=1)
    found = matches.positive.nonzero()[:, 0]
    kind = types[matches.nucleus[found]]
    any_kind = said[found, 1:].logsumexp(dim=1)
    right = said[found].gather(1, kind[:, None])[:, 0]
    missed = torch.where(kind == UNKNOWN, any_kind, right)
    wrong = -said[matches.negative, 0]
    n_hard = max(NEGATIVES_PER_POSITIVE * len(found), LEAST_NEGATIVES)
    hardest = wrong.topk(min(n_hard, len(wrong))).values
    return hardest.sum() - missed.sum()


def _mask_losses(
    module: nn.Module, raw: Raw, coefficients: Tensor, image: Image, nucleus: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum over masks the cross-entropy by box area, and the error of their rating.

    Pixels of what is unsure don't count, but those of the nucleus itself all do.
    """
    boxes, ids = image.nuclei.boxes[nucleus], image.nuclei.label[nucleus]
    labels, sure = image.labels.flatten(), ~image.unsure.flatten()
    mask = rating = raw.prototypes.sum() * 0
    for masks in assembled(raw.prototypes, coefficients, boxes):
        at, box = masks.pixels(image.labels.shape[1]), boxes[masks.rows]
        target = labels[at] == ids[masks.rows, None, None]
        wrong = functional.binary_cross_entropy_with_logits(
            masks.logits, target.float(), reduction="none"
        )
        by_mask = (wrong * (masks.inside & sure[at])).sum(dim=(1, 2))
        mask = mask + (by_mask / _boxes.areas(box)).sum()
        solid = (masks.logits > 0) & masks.inside
        true_iou = (solid & target).sum(dim=(1, 2)) / (solid | target).sum(dim=(1, 2))
        rated = rating_of(module, masks, box)
        rating = rating + functional.smooth_l1_loss(rated, true_iou, reduction="sum")
    return mask, rating


def _semantic_loss(logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the mean cross-entropy of the classes' shares in the coarse pixels.

    Nuclei of unknown type don't count where there are several classes.
    """
    n_classes = logits.shape[1]
    inside = targets[INSTANCES] > 0
    shown = inside
    if TYPE_HEAD in targets:
        names = torch.arange(1, n_classes + 1, device=logits.device).view(-1, 1, 1)
        shown = inside & (targets[TYPE_HEAD] == names)
    weight = (shown.any(dim=1, keepdim=True) | ~inside).to(logits.dtype)
    if "valid" in targets:
        weight = weight * targets["valid"][:, None]
    size = (logits.shape[2], logits.shape[3])
    share = functional.adaptive_avg_pool2d(shown * weight, size)
    whole = functional.adaptive_avg_pool2d(weight, size)
    wrong = functional.binary_cross_entropy_with_logits(
        logits, share / whole.clamp(min=1e-6), reduction="none"
    )
    return (wrong * whole).sum() / (whole.sum() * n_classes).clamp(min=1)
