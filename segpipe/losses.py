"""Losses of network outputs against targets, each over weighted pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SMALL = 1e-6


def weighted_mean(terms: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of terms over weighted pixels, 0 where nothing has weight.

    Parameters
    ----------
    terms, weight : (B, H, W)
    """
    return (terms * weight).sum() / (weight.sum() + _SMALL)


def bce_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over weighted pixels.

    Parameters
    ----------
    logits, target, weight : (B, H, W)
    """
    terms = functional.binary_cross_entropy_with_logits(
        logits, target, reduction="none"
    )
    return weighted_mean(terms, weight)


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of the whole batch.

    Parameters
    ----------
    logits, target, weight : (B, H, W)

    References
    ----------
    Milletari et al. 2016, *V-Net*, with plain sums in the denominator.
    """
    prob = torch.sigmoid(logits)
    common = 2 * (prob * target * weight).sum()
    total = ((prob + target) * weight).sum()
    return 1 - (common + 1) / (total + 1)


def hv_loss(hv: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of the offsets over weighted pixels.

    Parameters
    ----------
    hv, target : (B, 2, H, W)
    weight : (B, H, W)
    """
    terms = (hv - target).square().mean(dim=1)
    return weighted_mean(terms, weight)


def hv_gradient_loss(hv: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of each offset's slope along its own axis.

    The horizontal map is compared by its horizontal Sobel derivative, the vertical map
    by its vertical one: the jumps between touching nuclei are what decoding looks for.

    Parameters
    ----------
    hv, target : (B, 2, H, W)
    weight : (B, H, W)

    References
    ----------
    Graham et al. 2019, *HoVer-Net*, section 3.2, with a 3 x 3 Sobel kernel.
    """
    error = _slopes(hv - target).square().mean(dim=1)
    return weighted_mean(error, weight)


def _slopes(hv: Tensor) -> Tensor:
    row = torch.tensor([[-1.0, 0.0, 1.0]], device=hv.device, dtype=hv.dtype)
    kernel = torch.tensor([[1.0], [2.0], [1.0]], device=hv.device, dtype=hv.dtype) * row
    kernels = torch.stack((kernel, kernel.T)).unsqueeze(1) / 8
    padded = functional.pad(hv, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernels, groups=2)


def type_loss(
    logits: Tensor, target: Tensor, weight: Tensor, *, balance: float = 0.0
) -> Tensor:
    """Cross-entropy over pixels of known type.

    Parameters
    ----------
    logits, target : (B, K, H, W)
        ``target`` is one-hot, or all zero where the type is not known.
    weight : (B, H, W)
    balance
        From 0, every pixel alike, to 1, every type of the batch alike: a type with the
        share ``s`` of the weight counts ``s ** -balance`` a pixel.
    """
    terms = -(functional.log_softmax(logits, dim=1) * target).sum(dim=1)
    each = target * weight[:, None]
    share = each.sum(dim=(0, 2, 3)) / (each.sum() + _SMALL)
    rarity = share.clamp(min=_SMALL) ** -balance
    counted = (each * rarity[:, None, None]).sum(dim=1)
    return weighted_mean(terms, counted)
