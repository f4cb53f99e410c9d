"""Everything that is summed over a nucleus's pixels, before it becomes columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import Maps, Planes
from segpipe.errors import ShapeMismatch
from segpipe.tables.contours import to_wkb, trace
from segpipe.tables.crops import Crops, find_crops
from segpipe.tables.frame import Frame, Places, places
from segpipe.tables.hulls import hull_areas_px
from segpipe.tables.moments import Ellipse, ShapeSums, ellipse, shape_sums
from segpipe.tables.probabilities import map_sums
from segpipe.tables.schema import Packed
from segpipe.tables.stains import StainSums, stain_sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the columns are made of; one entry a nucleus."""

    frame: Frame
    """Where the box lies."""
    crops: Crops
    """Ids and areas."""
    places: Places
    """Centroids and extents."""
    shape: ShapeSums
    """Moments and crossings."""
    ellipse: Ellipse
    """Central second moments."""
    hull_px: NDArray[np.int64]
    """Pixels of the convex hull."""
    stains: StainSums
    """Hematoxylin and eosin."""
    prob: NDArray[np.int64]
    """(N,) sum of the prob map, in units of 1/255."""
    types: NDArray[np.int64]
    """(N, K) sums of the type map, in units of 1/255."""
    outlines: Packed
    """Polygons."""


def gather(
    labels: NDArray[Any],
    ids: NDArray[Any],
    planes: Planes,
    maps: Maps,
    frame: Frame,
) -> Sums:
    """Sum over the pixels of each nucleus; arguments as for ``measure``."""
    stacks = {
        "planes": planes,
        "prob": maps["prob"][None],
        "type": maps.get("type", np.empty((0, *frame.box.shape), np.uint8)),
    }
    _refuse_shapes({"labels": labels, **stacks}, frame)
    _refuse_channels(stacks, frame.type_names)
    stacks = {name: np.ascontiguousarray(stack) for name, stack in stacks.items()}
    crops = find_crops(labels, ids)
    shape = shape_sums(crops)
    return Sums(
        frame=frame,
        crops=crops,
        places=places(frame, crops, shape),
        shape=shape,
        ellipse=ellipse(shape, crops.area_px),
        hull_px=hull_areas_px(crops),
        stains=stain_sums(crops, stacks["planes"]),
        prob=map_sums(crops, stacks["prob"])[:, 0],
        types=map_sums(crops, stacks["type"]),
        outlines=to_wkb(trace(crops), (frame.box.y0, frame.box.x0), frame.downsample),
    )


def _refuse_shapes(arrays: Mapping[str, NDArray[Any]], frame: Frame) -> None:
    """Raise unless all arrays are of the box."""
    for name, array in arrays.items():
        if array.shape[-2:] != frame.box.shape:
            message = (
                f"{name} is {array.shape}, but the box to measure is "
                f"{frame.box.height} x {frame.box.width} px. Read all of one box."
            )
            raise ShapeMismatch(message)


def _refuse_channels(
    stacks: Mapping[str, NDArray[Any]], type_names: tuple[str, ...]
) -> None:
    """Raise unless pixels and maps are uint8, of the right number of channels."""
    wanted = {"planes": 3, "prob": 1, "type": len(type_names)}
    for name, stack in stacks.items():
        if stack.ndim != 3 or len(stack) != wanted[name] or stack.dtype != np.uint8:
            message = (
                f"{name} is {stack.dtype} of shape {stack.shape}; measuring needs "
                f"uint8 with {wanted[name]} channels (type names: {type_names})."
            )
            raise ShapeMismatch(message)
