"""A moving average of weights, which predicts better than the last ones do."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_average(
    average: nn.Module, module: nn.Module, step: int, decay: float
) -> None:
    """Move the average towards the module by one step, in place.

    Early on the decay is smaller, (1 + step) / (10 + step), so that the average forgets
    where training started. Batch statistics are averaged too.

    References
    ----------
    Polyak and Juditsky 1992; the warm-up is TensorFlow's.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for kept, new in zip(_tensors(average), _tensors(module), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, weight)
        else:
            kept.copy_(new)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
