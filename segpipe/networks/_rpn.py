"""Region proposals: anchors on a pyramid, which of them hold something, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from segpipe.networks._boxes import clipped, decode, nms

Shape = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Boxes that stand at each place of each level."""

    sides: tuple[tuple[float, ...], ...]
    """Roots of their areas in pixels, for each level, finest first."""
    ratios: tuple[float, ...] = (1.0,)
    """Heights over widths."""
    centred: bool = True
    """Whether they stand on the middle of a place, or on its corner as in the paper's
    implementation."""

    @property
    def per_place(self) -> int:
        """Anchors at a place."""
        return len(self.sides[0]) * len(self.ratios)

    def boxes(self, shapes: Sequence[Shape], strides: Sequence[int]) -> list[Tensor]:
        """Return those of each level, (h * w * per_place, 4), place by place.

        Parameters
        ----------
        shapes
            Height and width of each level.
        strides
            Of each level.
        """
        return [
            self._of_level(*row)
            for row in zip(self.sides, shapes, strides, strict=True)
        ]

    def _of_level(self, sides: tuple[float, ...], shape: Shape, stride: int) -> Tensor:
        high = torch.tensor(self.ratios).sqrt()[:, None] * torch.tensor(sides)
        wide = torch.tensor(sides) / torch.tensor(self.ratios).sqrt()[:, None]
        half = torch.stack((wide.flatten(), high.flatten()), dim=1) / 2
        around = torch.cat((-half, half), dim=1).round()
        first = stride / 2 if self.centred else 0.0
        y, x = (first + stride * torch.arange(n, dtype=torch.float32) for n in shape)
        grid = torch.meshgrid(y, x, indexing="ij")
        centre = torch.stack((grid[1], grid[0], grid[1], grid[0]), dim=-1)
        return (centre.view(-1, 1, 4) + around).view(-1, 4)


class RPNHead(nn.Module):
    """Objectness and offsets of every anchor, the same weights at all levels."""

    def __init__(self, width: int, per_place: int) -> None:
        super().__init__()
        conv = nn.Conv2d(width, width, 3, padding=1)
        self.conv = nn.Sequential(nn.Sequential(conv, nn.ReLU(inplace=True)))
        self.cls_logits = nn.Conv2d(width, per_place, 1)
        self.bbox_pred = nn.Conv2d(width, 4 * per_place, 1)
        for layer in (conv, self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return objectness (B, A) and offsets (B, A, 4), in the order of anchors."""
        seen = [self.conv(level) for level in levels]
        objectness = [_in_rows(self.cls_logits(x), 1) for x in seen]
        offsets = [_in_rows(self.bbox_pred(x), 4) for x in seen]
        return torch.cat(objectness, dim=1)[..., 0], torch.cat(offsets, dim=1)


class RPN(nn.Module):
    """The head, under the name that weights know it by."""

    def __init__(self, width: int, per_place: int) -> None:
        super().__init__()
        self.head = RPNHead(width, per_place)


def _in_rows(x: Tensor, n: int) -> Tensor:
    """Turn (B, per_place * n, h, w) to (B, h * w * per_place, n)."""
    batch, channels, height, width = x.shape
    return (
        x.view(batch, channels // n, n, height, width)
        .permute(0, 3, 4, 1, 2)
        .reshape(batch, -1, n)
    )


class Limits(NamedTuple):
    """How many proposals there are at most."""

    n_before: int
    """Anchors of a level that are looked at."""
    n_after: int
    """Proposals of an image."""
    iou: float
    """Anchors of one level that share more are doubles."""


def proposals(
    objectness: Tensor,
    offsets: Tensor,
    anchors: Sequence[Tensor],
    shape: Shape,
    limits: Limits,
) -> Tensor:
    """Return the boxes of an image in which something seems to be.

    Parameters
    ----------
    objectness, offsets : (A,), (A, 4)
        Of one image.
    anchors
        Of each level.
    shape
        Height and width of the input.
    limits
        How many.

    Returns
    -------
    (N, 4)
        Best first, cut to the input, none empty.
    """
    edges = torch.tensor([0, *(len(level) for level in anchors)]).cumsum(0).tolist()
    chosen = [
        low
        + objectness[low:high].argsort(descending=True, stable=True)[: limits.n_before]
        for low, high in pairwise(edges)
    ]
    level = torch.repeat_interleave(
        torch.tensor([len(rows) for rows in chosen], device=objectness.device)
    )
    rows = torch.cat(chosen)
    boxes = decode(offsets[rows], torch.cat(list(anchors)).to(offsets)[rows])
    # What is no number has no place; the loss, or the reader, will tell.
    boxes = clipped(boxes.nan_to_num(), *shape)
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = (sides > 1e-3).all(dim=1)
    boxes, scores, level = boxes[whole], objectness[rows][whole], level[whole]
    return boxes[nms(boxes, scores, limits.iou, level)[: limits.n_after]]
