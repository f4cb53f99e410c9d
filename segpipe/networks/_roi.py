"""Features of boxes: RoIAlign and RoIPool, over the levels of a feature pyramid.

Both are a weighted sum, or a maximum, of a few rows of one table that holds the
features of all places, so a whole pyramid's boxes are pooled by one
``embedding_bag``. On CPUs this takes a fraction of the time of torchvision's kernels,
which are used on GPUs, where torchvision imports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from segpipe.networks._kernels import torchvision_ops

CANONICAL_PX = 224.0
"""A box of this side is read at stride 16, one half as large at 8."""
FINEST = 2
"""The finest level's stride is two to the power of it."""


class Regions(NamedTuple):
    """Boxes of a batch, and the level each is read from."""

    boxes: Tensor
    """(N, 4) x0, y0, x1, y1 in pixels of the input."""
    image: Tensor
    """(N,) int64: place in the batch."""
    level: Tensor
    """(N,) int64: index of the level."""


class _Table(NamedTuple):
    """Levels as rows, and for each region where its level's rows are."""

    rows: Tensor
    """(R, C)."""
    first: Tensor
    """(N,) row of the image's first place at that level."""
    height: Tensor
    width: Tensor
    scale: Tensor


def levels_of(boxes: Tensor, n_levels: int) -> Tensor:
    """Return the level (N,) whose features serve a box (N, 4), 0 for the finest.

    References
    ----------
    Lin et al. 2017, *Feature Pyramid Networks for Object Detection*, eq. 1.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    size = (sides[:, 0] * sides[:, 1]).sqrt() / CANONICAL_PX
    level = (4 + size.log2() + 1e-6).floor() - FINEST
    return level.clamp(0, n_levels - 1).nan_to_num(0).long()


def roi_align(  # noqa: PLR0913 - what the operator is defined by
    levels: Sequence[Tensor],
    regions: Regions,
    strides: Sequence[float],
    *,
    size: int,
    samples: int = 2,
    aligned: bool = True,
) -> Tensor:
    """Pool features of boxes by bilinear samples, nothing rounded.

    Parameters
    ----------
    levels : (B, C, H, W) each
        Features, finest first.
    regions
        N boxes.
    strides
        Of the levels.
    size
        Bins on each side.
    samples
        Points on each side of a bin; their mean is the bin's. 0: one per feature pixel.
    aligned
        Whether the pixel at index 0 has its centre at 0.5. If not, as in the paper, it
        has it at 0, and boxes are at least one feature pixel wide.

    Returns
    -------
    (N, C, size, size)

    References
    ----------
    He et al. 2017, *Mask R-CNN*, section 3; ``torchvision.ops.roi_align``.
    """
    ops = torchvision_ops() if regions.boxes.is_cuda else None
    if ops is not None:
        kernel = partial(
            ops.roi_align, output_size=size, sampling_ratio=samples, aligned=aligned
        )
        return _by_level(kernel, levels, regions, strides)
    table = _table(levels, regions, strides)
    half = 0.5 if aligned else 0.0
    axes = []
    for axis, extent in ((1, table.height), (0, table.width)):
        start = regions.boxes[:, axis] * table.scale - half
        length = regions.boxes[:, axis + 2] * table.scale - half - start
        length = length if aligned else length.clamp(min=1)
        axes.append(_taps(start, length, extent, size, samples))
    (y, y_weight), (x, x_weight) = axes
    y = y * table.width[:, None, None] + table.first[:, None, None]
    at = y[:, :, None, :, None] + x[:, None, :, None, :]
    weight = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
    bags = (at.shape[0] * size * size, at.shape[3] * at.shape[4])
    pooled = functional.embedding_bag(
        at.reshape(bags),
        table.rows,
        mode="sum",
        per_sample_weights=weight.reshape(bags).to(table.rows.dtype),
    )
    return _as_planes(pooled, size)


def _by_level(
    kernel: Callable[..., Tensor],
    levels: Sequence[Tensor],
    regions: Regions,
    strides: Sequence[float],
) -> Tensor:
    """Pool by one of torchvision's kernels, which read one level each.

    ``kernel(level, boxes, spatial_scale=...)`` takes boxes with their image before
    them.
    """
    boxes = torch.cat((regions.image[:, None].to(regions.boxes), regions.boxes), dim=1)
    rows, pooled = [], []
    for index, (level, stride) in enumerate(zip(levels, strides, strict=True)):
        rows.append((regions.level == index).nonzero()[:, 0])
        here = boxes[rows[-1]].to(level.dtype)
        pooled.append(kernel(level, here, spatial_scale=1 / stride))
    return torch.cat(pooled)[torch.cat(rows).argsort()]


def _taps(
    start: Tensor, length: Tensor, extent: Tensor, size: int, samples: int
) -> tuple[Tensor, Tensor]:
    """Return what bins read along one axis: indices and weights, (N, size, taps).

    Bilinear weights are products over the axes, and so are the means over samples.
    """
    per_bin = (length / size)[:, None, None]
    adaptive = per_bin.ceil().clamp(min=1)
    n = torch.full_like(per_bin, samples) if samples else adaptive
    most = int(n.max()) if len(n) else 1
    sample = torch.arange(most, device=start.device)
    bins = torch.arange(size, device=start.device)[:, None]
    at = start[:, None, None] + (bins + (sample + 0.5) / n) * per_bin
    last = (extent - 1)[:, None, None]
    counted = (at >= -1) & (at <= last + 1) & (sample < n)
    at = at.clamp(min=0).minimum(last.to(at.dtype))
    low = at.long()
    share = at - low
    indices = torch.cat((low, (low + 1).minimum(last)), dim=2)
    weights = torch.cat((1 - share, share), dim=2)
    return indices, weights * (counted / n).repeat(1, 1, 2)


def roi_pool(
    levels: Sequence[Tensor], regions: Regions, strides: Sequence[float], *, size: int
) -> Tensor:
    """Pool features of boxes by maxima over bins, everything rounded to whole pixels.

    Parameters
    ----------
    levels, regions, strides, size
        As for ``roi_align``.

    Returns
    -------
    (N, C, size, size)

    References
    ----------
    Girshick 2015, *Fast R-CNN*, section 2.1; ``torchvision.ops.roi_pool``.
    """
    ops = torchvision_ops() if regions.boxes.is_cuda else None
    if ops is not None:
        kernel = partial(ops.roi_pool, output_size=size)
        return _by_level(kernel, levels, regions, strides)
    table = _table(levels, regions, strides)
    axes = []
    for axis, extent in ((1, table.height), (0, table.width)):
        start = _rounded(regions.boxes[:, axis] * table.scale)
        end = _rounded(regions.boxes[:, axis + 2] * table.scale)
        per_bin = (end - start + 1).clamp(min=1)[:, None] / size
        bins = torch.arange(size, device=start.device)
        low = (bins * per_bin).floor() + start[:, None]
        high = ((bins + 1) * per_bin).ceil() + start[:, None]
        most = extent[:, None].to(low.dtype)
        axes.append([edge.clamp(min=0).minimum(most).long() for edge in (low, high)])
    (y0, y1), (x0, x1) = axes
    n_high, n_wide = (y1 - y0)[:, :, None], (x1 - x0)[:, None, :]
    n_read = (n_high * n_wide).flatten()
    corner = y0[:, :, None] * table.width[:, None, None] + x0[:, None, :]
    corner = (corner + table.first[:, None, None]).flatten()
    bag = torch.repeat_interleave(n_read)
    begins = n_read.cumsum(0) - n_read
    nth = torch.arange(len(bag), device=bag.device) - begins[bag]
    wide = n_wide.expand_as(n_high * n_wide).flatten()[bag]
    stride = table.width[bag // (size * size)]
    rows = corner[bag] + nth.div(wide, rounding_mode="floor") * stride + nth % wide
    pooled = functional.embedding_bag(rows, table.rows, begins, mode="max")
    return _as_planes(pooled, size)


def _rounded(x: Tensor) -> Tensor:
    """Round halves away from zero, as C does."""
    return x.sign() * (x.abs() + 0.5).floor()


def _table(
    levels: Sequence[Tensor], regions: Regions, strides: Sequence[float]
) -> _Table:
    like = regions.level
    height, width, n_before, scale = (
        torch.tensor(column, device=like.device)[like]
        for column in zip(*_layout(levels, strides), strict=True)
    )
    rows = [level.permute(0, 2, 3, 1).flatten(0, 2) for level in levels]
    return _Table(
        rows=torch.cat(rows) if len(rows) > 1 else rows[0].contiguous(),
        first=n_before + regions.image * height * width,
        height=height,
        width=width,
        scale=scale,
    )


def _layout(
    levels: Sequence[Tensor], strides: Sequence[float]
) -> list[tuple[int, int, int, float]]:
    """Return height, width, rows before it, and scale of each level."""
    layout, n_before = [], 0
    for level, stride in zip(levels, strides, strict=True):
        batch, _, height, width = level.shape
        layout.append((height, width, n_before, 1 / stride))
        n_before += batch * height * width
    return layout


def _as_planes(pooled: Tensor, size: int) -> Tensor:
    """Turn bins in a row (N * size * size, C) to (N, C, size, size), channels last."""
    return pooled.view(-1, size, size, pooled.shape[1]).permute(0, 3, 1, 2)
