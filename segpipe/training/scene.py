"""A patch before its targets are made: picture and annotation, pixel for pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import RGB, LabelMap, Mask
from segpipe.training.annotated import Annotated
from segpipe.training.warp import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Planes of one height and width."""

    rgb: RGB
    labels: LabelMap
    types: NDArray[np.uint8] | None
    """0 background, 1.. types, 255 unknown; None if nothing is known."""
    shown: Mask
    """Where the image is; elsewhere it is mirrored."""
    known: Mask
    """Where the annotation says anything."""
    reliable: Mask
    """Where instances can be trusted."""


def look_up(image: Annotated, x: Field, y: Field) -> Scene:
    """Return what an annotated image shows at the points of a field.

    Colours are interpolated; labels and all else take the nearest pixel.
    """

    def nearest(plane: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(
            cv2.remap(plane, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        )

    def where(mask: Mask) -> Mask:
        return nearest(mask.astype(np.uint8)).astype(np.bool_)

    rgb = cv2.remap(image.image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    shown = where(np.ones(image.labels.shape, np.bool_))
    return Scene(
        rgb=np.asarray(rgb),
        labels=nearest(image.labels.astype(np.uint16)).astype(np.int32),
        types=None if image.types is None else nearest(image.types),
        shown=shown,
        known=shown if image.known is None else where(image.known),
        reliable=where(image.reliable),
    )
