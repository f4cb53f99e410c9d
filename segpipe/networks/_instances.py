"""Instances in torch: from label maps to boxes and masks, from masks to detections.

Boxes are (N, 4) float x0, y0, x1, y1 in pixels of the input, as in ``_boxes``. Nothing
here loops over instances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segpipe.arrays import LabelMap
from segpipe.labels.detections import Detections, Unpacked, concatenated, first_pixels
from segpipe.labels.masks import one_piece
from segpipe.networks._boxes import areas
from segpipe.networks._finite import check_finite
from segpipe.networks._network import TYPE_HEAD

INSTANCES = "instances"
"""Name of the target that is the label map."""
UNKNOWN = 0
"""Type of an instance of which it isn't known. Others are 1..n_types."""
LIMITS: Mapping[str, tuple[float, float]] = {
    "least_score": (0.0, 1.0),
    "double_iou": (0.0, 1.0),
    "vouch_px": (0, 64),
    "edge_px": (0, 64),
}
"""Least and greatest value of the constants that all detectors have; the margin of
their windows is 64 px."""
_MOST_PIXELS = 1 << 22
"""Pixels of boxes that are looked at together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """The instances of a batch, in order of image and id."""

    boxes: Tensor
    """(N, 4) float: x0, y0, x1, y1 around its pixels."""
    image: Tensor
    """(N,) int64: place in the batch."""
    label: Tensor
    """(N,) int64: id in the label map."""
    types: Tensor
    """(N,) int64: type of most of its pixels, or ``UNKNOWN``."""
    trusted: Tensor
    """(N,) bool: every pixel of it is valid and reliable."""

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Tensor) -> Instances:
        """Return some of the instances."""
        return Instances(
            boxes=self.boxes[rows],
            image=self.image[rows],
            label=self.label[rows],
            types=self.types[rows],
            trusted=self.trusted[rows],
        )

    @classmethod
    def concatenated(cls, parts: Sequence[Instances]) -> Instances:
        """Return the instances of all parts, one part after the other."""
        names = [field.name for field in fields(cls)]
        return cls(
            **{n: torch.cat([getattr(part, n) for part in parts]) for n in names}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a detector is trained to say of a batch."""

    labels: Tensor
    """(B, H, W) int64: the label map."""
    instances: Instances
    """All of it; only the trusted are to be found."""
    unsure: Tensor
    """(B, H, W) bool: pixels that are not valid, or whose instance isn't trusted."""

    def of_image(self, image: int) -> Instances:
        """Return the trusted instances of an image."""
        mine = (self.instances.image == image) & self.instances.trusted
        return self.instances.take(mine.nonzero()[:, 0])


def instance_targets(
    labels: LabelMap, types: NDArray[np.uint8] | None, n_types: int
) -> Mapping[str, NDArray[Any]]:
    """Return a detector's targets: boxes and masks are made of them in the loss.

    Parameters
    ----------
    labels : (Y, X) int32
        Label map of a patch.
    types : (Y, X) uint8 or None
        Type of each pixel, 1..n_types; None: of none it is known.
    n_types : int
        0: untyped.

    Returns
    -------
    Mapping
        ``instances`` (1, Y, X) int32 and, typed, ``type`` (1, Y, X) uint8.
    """
    instances = {INSTANCES: labels[None].astype(np.int32)}
    if n_types == 0:
        return instances
    known = np.full(labels.shape, UNKNOWN) if types is None else types
    return {**instances, TYPE_HEAD: known[None].astype(np.uint8)}


def truth_of(targets: Mapping[str, Tensor], n_types: int) -> Truth:
    """Read a batch of a detector's targets.

    Parameters
    ----------
    targets
        ``instances`` (B, 1, H, W), and maybe ``type`` (B, 1, H, W), ``valid`` and
        ``reliable`` (B, H, W).
    n_types
        Types there are. A pixel whose type is none of them votes for no type.
    """
    labels = targets[INSTANCES][:, 0].long()
    sure = torch.ones_like(labels, dtype=torch.bool)
    for name in ("valid", "reliable"):
        if name in targets:
            sure &= targets[name] > 0
    types = targets[TYPE_HEAD][:, 0].long() if TYPE_HEAD in targets else None
    instances, row_of = _instances(labels, types, sure, n_types)
    trusted = torch.cat((instances.trusted, instances.trusted.new_ones(1)))
    return Truth(labels=labels, instances=instances, unsure=~sure | ~trusted[row_of])


def _instances(
    labels: Tensor, types: Tensor | None, sure: Tensor, n_types: int
) -> tuple[Instances, Tensor]:
    """Return the instances, and (B, H, W) each pixel's row, -1 for background."""
    inside = labels > 0
    image, y, x = inside.nonzero(as_tuple=True)
    span = labels.max() + 1 if labels.numel() else 1
    keys, row = torch.unique(image * span + labels[inside], return_inverse=True)
    n = len(keys)
    corners = torch.stack((x, y, x, y), dim=1)
    rows = row[:, None].expand_as(corners)
    low = corners.new_full((n, 4), max(labels.shape[1:]))
    low = low.scatter_reduce(0, rows, corners, "amin")
    high = corners.new_full((n, 4), -1).scatter_reduce(0, rows, corners, "amax")
    trusted = torch.ones(n, dtype=torch.bool, device=labels.device)
    trusted[row[~sure[inside]]] = False
    kinds = torch.full((n,), UNKNOWN, dtype=torch.int64, device=labels.device)
    if types is not None and n_types:
        kinds = _majority(row, types[inside], n, n_types)
    row_of = torch.full_like(labels, -1)
    row_of[inside] = row
    instances = Instances(
        boxes=torch.cat((low[:, :2], high[:, 2:] + 1), dim=1).float(),
        image=keys.div(span, rounding_mode="floor"),
        label=keys % span,
        types=kinds,
        trusted=trusted,
    )
    return instances, row_of


def _majority(row: Tensor, types: Tensor, n: int, n_types: int) -> Tensor:
    """Return the type (n,) most pixels are of, the lower of equals."""
    known = (types > 0) & (types <= n_types)
    votes = torch.bincount(
        row[known] * n_types + types[known] - 1, minlength=n * n_types
    ).view(n, n_types)
    most, kind = votes.max(dim=1)
    return torch.where(most > 0, kind + 1, UNKNOWN)


def unsure_share(boxes: Tensor, unsure: Tensor) -> Tensor:
    """Return how much of each box can't be judged.

    Parameters
    ----------
    boxes : (N, 4)
        Cut to the image; rounded to whole pixels.
    unsure : (H, W) bool

    Returns
    -------
    (N,)
        In [0, 1]. What lies outside the image counts as sure.
    """
    height, width = unsure.shape
    sums = torch.nn.functional.pad(
        unsure.long().cumsum(0).cumsum(1), (1, 0, 1, 0)
    ).flatten()
    whole = boxes.round().long()
    x0, x1 = whole[:, 0].clamp(0, width), whole[:, 2].clamp(0, width)
    y0, y1 = whole[:, 1].clamp(0, height), whole[:, 3].clamp(0, height)
    row0, row1 = y0 * (width + 1), y1 * (width + 1)
    inside = sums[row1 + x1] - sums[row0 + x1] - sums[row1 + x0] + sums[row0 + x0]
    return inside / areas(whole).clamp(min=1)


def masks_in_boxes(
    labels: Tensor, image: Tensor, label: Tensor, boxes: Tensor, size: int
) -> Tensor:
    """Return instances as seen in boxes: the share of each cell that is theirs.

    Parameters
    ----------
    labels : (B, H, W) int64
        Label maps. Outside of them is background.
    image, label : (N,)
        Which instance is looked for.
    boxes : (N, 4)
        Where.
    size
        Cells on each side of a box.

    Returns
    -------
    (N, size, size) float
        Mean over two by two points of a cell.
    """
    _, height, width = labels.shape
    points = (torch.arange(2 * size, device=boxes.device) + 0.5) / (2 * size)
    x = (boxes[:, 0:1] + points * (boxes[:, 2:3] - boxes[:, 0:1])).floor().long()
    y = (boxes[:, 1:2] + points * (boxes[:, 3:4] - boxes[:, 1:2])).floor().long()
    within = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None]
    y, x = y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None]
    mine = labels[image[:, None, None], y, x] == label[:, None, None]
    cells = (mine & within).view(-1, size, 2, size, 2)
    return cells.float().mean(dim=(2, 4))


Inside = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``inside(row, y, x)``: whether pixels belong to masks. (P,) int64 each: which mask,
and the pixel's coordinates in the input; its centre is half a pixel on. (P,) bool."""


def detections_of(  # noqa: PLR0913 - what detections are made of
    boxes: Tensor,
    scores: Tensor,
    types: Tensor,
    inside: Inside,
    *,
    height: int,
    width: int,
) -> Detections:
    """Pack scored masks.

    Parameters
    ----------
    boxes : (N, 4)
        Pixels that a box touches are asked for; those outside the input are not.
    scores : (N,)
        In [0, 1], in falling order.
    types : (N,)
        0 if untyped.
    inside
        Tells masks from the rest of their boxes.
    height, width
        Of the input.

    Returns
    -------
    Detections
        In the given order and in tight boxes, each cut to the largest of its pieces;
        empty ones are gone.

    Raises
    ------
    MapsInvalid
        If a box or a score is no finite number.
    """
    check_finite(boxes, "boxes")
    check_finite(scores, "scores")
    most = boxes.new_tensor((width, height, width, height))
    low, high = boxes[:, :2].floor(), boxes[:, 2:].ceil()
    whole = torch.cat((low, high), dim=1).clamp(min=0).minimum(most).long()
    filled = (areas(whole) > 0).nonzero()[:, 0]
    filled = filled[(whole[filled, 2:] > whole[filled, :2]).all(dim=1)]
    runs = _runs(filled, areas(whole[filled]).cumsum(0))
    return concatenated(
        [_packed(whole[rows], rows, scores, types, inside) for rows in runs]
    )


def _runs(rows: Tensor, n_pixels: Tensor) -> list[Tensor]:
    """Split rows so that each part has some ``_MOST_PIXELS`` pixels."""
    if not len(rows):
        return []
    part = (n_pixels - 1).div(_MOST_PIXELS, rounding_mode="floor")
    _, lengths = torch.unique_consecutive(part, return_counts=True)
    return list(torch.split(rows, lengths.tolist()))


def _packed(
    whole: Tensor, rows: Tensor, scores: Tensor, types: Tensor, inside: Inside
) -> Detections:
    """Ask for the pixels of some boxes, and pack them."""
    wide, n_pixels = whole[:, 2] - whole[:, 0], areas(whole)
    box = torch.repeat_interleave(n_pixels)
    begins = n_pixels.cumsum(0) - n_pixels
    nth = torch.arange(len(box), device=box.device) - begins[box]
    y = whole[box, 1] + nth.div(wide[box], rounding_mode="floor")
    x = whole[box, 0] + nth % wide[box]
    is_inside = inside(rows[box], y, x).cpu().numpy()
    boxes = whole[:, [1, 0, 3, 2]].cpu().numpy()
    firsts = first_pixels(boxes)
    at = np.repeat(firsts[:-1], n_pixels.cpu().numpy()) + nth.cpu().numpy()
    pixels = np.zeros(firsts[-1], np.uint8)
    pixels[at] = is_inside
    said = Detections.packed(
        Unpacked(boxes, pixels, firsts),
        (scores[rows].float() * 255).round().to(torch.uint8).cpu().numpy(),
        types[rows].to(torch.uint8).cpu().numpy(),
    )
    return one_piece(said)[0]


def sampled(planes: Tensor, row: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Read planes by bilinear interpolation.

    Parameters
    ----------
    planes : (N, h, w)
    row : (P,) int64
        Which plane.
    y, x : (P,)
        Where, in pixels of the plane; the first one's centre is at 0.5. Beyond the
        centres of those at the edge their values go on.

    Returns
    -------
    (P,)
    """
    _, height, width = planes.shape
    y, x = (y - 0.5).clamp(0, height - 1), (x - 0.5).clamp(0, width - 1)
    top, left = y.long(), x.long()
    down, right = y - top, x - left
    flat = planes.flatten()
    first = row * (height * width)
    upper = first + top * width
    lower = first + (top + 1).clamp(max=height - 1) * width
    beside = (left + 1).clamp(max=width - 1)
    above = flat[upper + left] * (1 - right) + flat[upper + beside] * right
    below = flat[lower + left] * (1 - right) + flat[lower + beside] * right
    return above * (1 - down) + below * down
