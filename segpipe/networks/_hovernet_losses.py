"""HoVer-Net's loss: cross-entropy and Dice of pixels and types, offsets and slopes.

Graham et al. 2019, section 3.2, whose weights are 2 for the slopes and 1 for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from segpipe import losses
from segpipe.networks._typed import pixels_of

SLOPE_WEIGHT = 2.0
"""Weight of the slopes' squared error, lambda_b in the paper."""
SMOOTH = 1e-3
"""Added to both sides of the Dice fraction, epsilon in the paper."""
RADIUS = 2
"""Of the slope filter, 5 x 5 pixels."""


def loss(
    outputs: tuple[Tensor, ...], target: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the loss terms of raw heads against a batch of targets.

    ``target`` holds each head's target, and may hold ``valid`` (B, H, W), 1 where the
    image is shown at all, and ``reliable`` (B, H, W), 1 where instances can be trusted.
    """
    prob, hv, *typed = (out.float() for out in outputs)
    inside, valid, trusted = pixels_of(target)
    logits = with_background(prob)
    classes = torch.stack((1 - inside, inside), dim=1)
    terms = {
        "np_ce": losses.type_loss(logits, classes, valid),
        "np_dice": dice_loss(logits, classes, valid),
        "hv_mse": losses.hv_loss(hv, target["hv"], trusted),
        "hv_msge": SLOPE_WEIGHT * slope_loss(hv, target["hv"], trusted * inside),
    }
    if typed:
        logits = with_background(typed[0])
        classes = torch.cat((1 - inside[:, None], target["type"]), dim=1)
        terms["tp_ce"] = losses.type_loss(logits, classes, valid)
        terms["tp_dice"] = dice_loss(logits, classes, valid)
    return terms


def with_background(logits: Tensor) -> Tensor:
    """Put the background's logit, 0, before those of the classes."""
    return torch.cat((torch.zeros_like(logits[:, :1]), logits), dim=1)


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of the whole batch, summed over classes.

    Parameters
    ----------
    logits, target : (B, K, H, W)
        ``target`` is one-hot, or all zero where the class is not known.
    weight : (B, H, W)
    """
    known = (weight * target.sum(dim=1))[:, None]
    prob = torch.softmax(logits, dim=1)
    common = 2 * (prob * target * known).sum(dim=(0, 2, 3))
    total = ((prob + target) * known).sum(dim=(0, 2, 3))
    return (1 - (common + SMOOTH) / (total + SMOOTH)).sum()


def slope_loss(hv: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of each offset's slope along its own axis.

    Parameters
    ----------
    hv, target : (B, 2, H, W)
    weight : (B, H, W)
    """
    error = _slopes(hv - target).square().mean(dim=1)
    return losses.weighted_mean(error, weight)


def _slopes(hv: Tensor) -> Tensor:
    """Filter by a Sobel kernel of 5 x 5: each pixel's distance along over its square.

    A ramp that rises by 1 per pixel gives 12.
    """
    offset = torch.arange(-RADIUS, RADIUS + 1, device=hv.device, dtype=hv.dtype)
    along, across = offset.expand(5, 5), offset.expand(5, 5).T
    kernel = along / (along.square() + across.square()).clamp(min=1)
    kernels = torch.stack((kernel, kernel.T)).unsqueeze(1)
    return functional.conv2d(hv, kernels, padding=RADIUS, groups=2)
