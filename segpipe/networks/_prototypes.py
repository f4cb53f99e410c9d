"""Masks as sums of prototypes, each in a small window around its box.

::

    prototypes (k, h, w)      a box     its window of prototypes · its coefficients
    ┌───────────────┐          ┌─┐      ┌────┐ twice upsampled,
    │    shared     │    x     └─┘  ->  │ ## │ what lies outside
    └───────────────┘                   └────┘ of the box is cut off

A nucleus is some hundred pixels of a quarter of a million, so masks of the whole input,
as the paper assembles them, would be a thousand times the work here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

STRIDE = 2
"""Pixels of the input per prototype pixel."""
PADDING_PX = 1
"""A box is cropped to with so much around it, as rounded boxes cut outlines off."""
SIDES = (8, 12, 16, 24, 32, 48, 64, 128)
"""Sides of windows in prototype pixels; what doesn't fit gets the whole map."""
WINDOWS_FLOATS = 2**22
"""Prototype values that are gathered at once."""


class Assembled(NamedTuple):
    """Masks of some boxes, in windows of one size."""

    rows: Tensor
    """(n,) int64: which of the boxes."""
    corner: Tensor
    """(n, 2) int64: y, x of each window, in pixels of the input."""
    logits: Tensor
    """(n, h, w) float."""
    inside: Tensor
    """(n, h, w) bool: within the box."""

    def pixels(self, width: int) -> Tensor:
        """Return the places (n, h, w) of the pixels in a flat map of a width."""
        down, right = (
            self.corner[:, axis, None]
            + torch.arange(self.logits.shape[1 + axis], device=self.corner.device)
            for axis in (0, 1)
        )
        return down[:, :, None] * width + right[:, None, :]


def assembled(
    prototypes: Tensor, coefficients: Tensor, boxes: Tensor
) -> Iterator[Assembled]:
    """Assemble the masks of an image's boxes, windows of one size at a time.

    Memory is bounded by ``WINDOWS_FLOATS`` or, if larger, by the prototypes.

    Parameters
    ----------
    prototypes : (k, h, w)
        At half the input's resolution.
    coefficients : (N, k)
    boxes : (N, 4)
        x0, y0, x1, y1 in pixels of the input.
    """
    n_kinds, height, width = prototypes.shape
    table = prototypes.permute(1, 2, 0)
    first = ((boxes[:, :2] - PADDING_PX) / STRIDE).floor().long() - 1
    last = ((boxes[:, 2:] + PADDING_PX) / STRIDE).ceil().long() + 1
    needed = (last - first).amax(dim=1)
    kinds = torch.searchsorted(needed.new_tensor(SIDES), needed)
    for kind, side in enumerate((*SIDES, max(height, width))):
        extent = (min(side, height), min(side, width))
        most = first.new_tensor((width - extent[1], height - extent[0]))
        at_once = max(1, WINDOWS_FLOATS // (extent[0] * extent[1] * n_kinds))
        members = (kinds == kind).nonzero()[:, 0]
        for rows in torch.split(members, at_once) if len(members) else ():
            start = first[rows].clamp(min=0).minimum(most).flip(1)
            logits = _summed(table, coefficients[rows], start, extent)
            corner = start * STRIDE
            inside = _inside(corner, logits.shape, boxes[rows])
            yield Assembled(rows, corner, logits, inside)


def _summed(
    table: Tensor, coefficients: Tensor, start: Tensor, extent: tuple[int, int]
) -> Tensor:
    """Return the sums of prototypes (h, w, k) in windows, at the input's resolution.

    A window has a prototype pixel around its box, or ends with the map, so that they
    are what the sums of the whole map would be.
    """
    down = start[:, :1] + torch.arange(extent[0], device=start.device)
    across = start[:, 1:] + torch.arange(extent[1], device=start.device)
    at = down[:, :, None] * table.shape[1] + across[:, None, :]
    seen = table.flatten(0, 1).index_select(0, at.flatten())
    coarse = seen.view(len(start), -1, table.shape[2]) @ coefficients[:, :, None]
    return functional.interpolate(
        coarse.view(-1, 1, *extent),
        scale_factor=STRIDE,
        mode="bilinear",
        align_corners=False,
    )[:, 0]


def _inside(corner: Tensor, shape: Sequence[int], boxes: Tensor) -> Tensor:
    """Return which pixels of windows (n, h, w) have their centres in padded boxes."""
    axes = []
    for axis in (0, 1):
        steps = torch.arange(shape[1 + axis], device=corner.device)
        centre = corner[:, axis, None] + steps + 0.5
        low = boxes[:, 1 - axis, None] - PADDING_PX
        high = boxes[:, 3 - axis, None] + PADDING_PX
        axes.append((centre >= low) & (centre < high))
    return axes[0][:, :, None] & axes[1][:, None, :]


def resampled(values: Tensor, masks: Assembled, boxes: Tensor, side: int) -> Tensor:
    """Return what is in windows as seen in their boxes, (n, 1, side, side).

    Parameters
    ----------
    values : (n, h, w)
    masks
        Whose windows they are in.
    boxes : (n, 4)
        Of these windows.
    side
        Bilinear samples along each axis.
    """
    share = (torch.arange(side, device=boxes.device) + 0.5) / side
    axes = []
    for axis in (0, 1):
        low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
        at = low + share * (high - low) - masks.corner[:, 1 - axis, None]
        axes.append(2 * at / values.shape[2 - axis] - 1)
    across = axes[0][:, None, :].expand(-1, side, -1)
    down = axes[1][:, :, None].expand(-1, -1, side)
    grid = torch.stack((across, down), dim=-1)
    return functional.grid_sample(values[:, None], grid, align_corners=False)
