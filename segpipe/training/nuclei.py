"""The nuclei of an annotated image: where each lies, its type, whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects

from segpipe.geometry import Box
from segpipe.targets import UNTYPED
from segpipe.training.annotated import Annotated


@dataclass(frozen=True, slots=True, kw_only=True)
class Nucleus:
    """One instance of an annotated image."""

    id: int
    box: Box
    type: int
    """1, 2, ...; ``UNTYPED`` if it is not known."""
    whole: bool
    """Whether all of it is shown and it is a single nucleus for sure."""

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of its box, y and x."""
        box = self.box
        return (box.y0 + box.y1 - 1) / 2, (box.x0 + box.x1 - 1) / 2


def nuclei_of(image: Annotated) -> tuple[Nucleus, ...]:
    """Return the nuclei of an image by ascending id."""
    whole = Box.of_shape(image.labels.shape)
    return tuple(
        _nucleus(image, index, Box(y.start, x.start, y.stop, x.stop), whole)
        for index, (y, x) in _found(image)
    )


def _found(image: Annotated) -> list[tuple[int, tuple[slice, slice]]]:
    boxes = enumerate(find_objects(image.labels), 1)
    return [(index, box) for index, box in boxes if box is not None]


def _nucleus(image: Annotated, index: int, box: Box, whole: Box) -> Nucleus:
    mask = image.labels[box.slices()] == index
    trusted = image.reliable if image.known is None else image.reliable & image.known
    return Nucleus(
        id=index,
        box=box,
        type=_type(image, box, mask),
        whole=whole.contains(box.grown(1)) and bool(trusted[box.slices()][mask].all()),
    )


def _type(image: Annotated, box: Box, mask: np.ndarray) -> int:
    """Return the commonest known type of a nucleus."""
    if image.types is None:
        return UNTYPED
    counts = np.bincount(image.types[box.slices()][mask], minlength=256)
    counts[[0, UNTYPED]] = 0
    return int(counts.argmax()) if counts.any() else UNTYPED
