"""A detector small enough for tests: what is darker than most of a window is a nucleus.

How dark that is depends on the window, so windows differ about the outline, the score
and the presence of one nucleus, as trained detectors do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from segpipe.geometry import Box
from segpipe.labels.detections import Detections
from segpipe.labels.masks import of_planes
from segpipe.networks import Detector, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Darkness:
    """Constants."""

    CHOICES: ClassVar[Mapping[str, tuple[float, ...]]] = {"above": (0.3, 0.5, 0.8)}

    above: float = 0.5
    """Standard deviations of the window's darkness above its mean."""
    min_area_px: int = 30
    vouch_px: int = 6
    edge_px: int = 2

    @property
    def support_px(self) -> int:
        """None: claims reach farther, by themselves."""
        return 0


class DarkBlobs(nn.Module):
    """Smoothed darkness; a second stage sharpens it."""

    def __init__(self, n_types: int) -> None:
        super().__init__()
        self.n_types = n_types
        self.blur = nn.Conv2d(3, 1, 5, padding=2, padding_mode="reflect")
        nn.init.constant_(self.blur.weight, -1 / 75)
        nn.init.ones_(self.blur.bias)
        self.gain = nn.Parameter(torch.tensor([10.0, -4.0]))

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        dark = self.blur(rgb / 255)
        return dark, functional.avg_pool2d(dark, 2)

    def sharpened(self, dark: Tensor) -> Tensor:
        """Return logits."""
        return self.gain[0] * dark + self.gain[1]


def detect(
    module: nn.Module, outputs: tuple[Tensor, ...], decoding: Darkness
) -> list[Detections]:
    """Return the dark blobs of each input."""
    darkness, coarse = outputs
    assert darkness.dtype == coarse.dtype == torch.float32
    chance = torch.sigmoid(module.sharpened(darkness))
    return [
        _blobs(one[0].cpu().numpy(), seen[0].cpu().numpy(), module.n_types, decoding)
        for one, seen in zip(chance, darkness, strict=True)
    ]


def _blobs(
    chance: NDArray[np.float32],
    dark: NDArray[np.float32],
    n_types: int,
    decoding: Darkness,
) -> Detections:
    dark = dark.astype(np.float64)
    labels, n = ndimage.label(dark > dark.mean() + decoding.above * dark.std())
    areas = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    ids = np.flatnonzero(areas >= decoding.min_area_px) + 1
    raw = np.asarray(ndimage.mean(chance.astype(np.float64), labels, ids))
    order = np.argsort(-raw, kind="stable")
    ids, raw = ids[order], raw[order]
    types = 1 + (areas[ids - 1] % n_types if n_types else np.full(len(ids), -1))
    return of_planes(
        labels == ids[:, None, None],
        np.round(raw * 255).astype(np.uint8),
        types.astype(np.uint8),
        at=Box.of_shape(dark.shape),
    )


def targets(
    labels: NDArray[np.int32], types: NDArray[np.uint8] | None, n_types: int
) -> dict[str, NDArray[Any]]:
    """Return what the loss needs."""
    made: dict[str, NDArray[Any]] = {"instances": labels[None].astype(np.int32)}
    if n_types:
        made["type"] = np.zeros_like(labels, np.uint8)[None]
        if types is not None:
            made["type"][0] = types
    return made


def loss(
    module: nn.Module, outputs: tuple[Tensor, ...], target: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Compare sharpened darkness with where nuclei are."""
    inside = (target["instances"] > 0).float()
    assert inside.shape[-2:] == outputs[0].shape[-2:]
    logits = module.sharpened(outputs[0])
    coarse = module.sharpened(outputs[1])
    known = target["valid"][:, None]
    fine = functional.binary_cross_entropy_with_logits(logits, inside, weight=known)
    pooled = functional.avg_pool2d(inside, 2)
    return {
        "mask": fine,
        "coarse": functional.binary_cross_entropy_with_logits(coarse, pooled),
    }


NETWORK = Detector(
    name="dark_blobs",
    paper="none; for tests",
    mpp=0.5,
    window=Window(input_px=256, output_px=192),
    step_px=2,
    activation_bytes_per_px=100,
    build=DarkBlobs,
    decoding=Darkness,
    targets=targets,
    detect=detect,
    loss=loss,
)
