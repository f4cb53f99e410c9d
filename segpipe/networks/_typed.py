"""What dense networks have in common: the type head, and which pixels a loss counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segpipe import losses, targets
from segpipe.networks._network import PROB_HEAD, TYPE_HEAD, Head


def typed_heads(always: tuple[Head, ...], n_types: int) -> tuple[Head, ...]:
    """Return the heads with the type head behind them, if there are types."""
    if n_types == 0:
        return always
    typed = Head(
        name=TYPE_HEAD, n_channels=n_types, activation="softmax", dtype="uint8"
    )
    return (*always, typed)


def typed_targets(
    always: Mapping[str, NDArray[Any]], types: NDArray[np.uint8] | None, n_types: int
) -> Mapping[str, NDArray[Any]]:
    """Return the targets with that of the type head among them, if there are types."""
    if n_types == 0:
        return always
    shape = always[PROB_HEAD].shape[-2:]
    return {**always, TYPE_HEAD: targets.type_target(types, shape, n_types)}


class Pixels(NamedTuple):
    """Maps (B, H, W) that say what a pixel is good for in a loss."""

    inside: Tensor
    """0 or 1: the target of ``prob``."""
    valid: Tensor
    """0 or 1: the image is shown at all."""
    trusted: Tensor
    """0 or 1: and its instances can be relied on."""

    def weighed(self, weight: Tensor) -> Tensor:
        """Return how much each pixel counts: ``weight`` where instances are trusted.

        Weights come of instances, so other valid pixels count 1.
        """
        return self.trusted * weight + (self.valid - self.trusted)


def pixels_of(target: Mapping[str, Tensor]) -> Pixels:
    """Read a batch of targets, which may leave ``valid`` and ``reliable`` out."""
    inside = target[PROB_HEAD][:, 0]
    valid = target.get("valid", inside.new_ones(inside.shape))
    return Pixels(inside, valid, valid * target.get("reliable", valid))


def type_terms(
    typed: list[Tensor],
    target: Mapping[str, Tensor],
    weight: Tensor,
    *,
    balance: float = 0.0,
) -> dict[str, Tensor]:
    """Return the loss term of the type head, given as what follows the other heads."""
    if not typed:
        return {}
    return {
        TYPE_HEAD: losses.type_loss(
            typed[0], target[TYPE_HEAD], weight, balance=balance
        )
    }
