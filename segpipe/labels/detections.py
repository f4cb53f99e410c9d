"""Scored masks, as a detector gives them: one value of flat arrays, no objects.

::

    boxes   (N, 4)   y0 x0 y1 x1 of each mask, canvas pixels
    scores  (N,)     types (N,)
    bits    (B,)     the masks, one after the other, each from a new byte:

      box of 3 x 5      bits of its 15 pixels, row by row, and 1 of padding
      . # # # .         0111 0111 1101 110 0
      # # # # #
      . # # # .
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ShapeMismatch

Boxes = NDArray[np.int64]
"""(N, 4) half-open y0, x0, y1, x1."""


class Unpacked(NamedTuple):
    """Masks as compiled loops take them (numba knows named tuples, no dataclasses)."""

    boxes: Boxes
    """(N, 4) int64."""
    pixels: NDArray[np.uint8]
    """A byte, 0 or 1, per pixel, row by row of a box, padded to eights; then the next
    box."""
    firsts: NDArray[np.int64]
    """(N + 1,) int64: where each mask starts in ``pixels``; one more for the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """N scored masks.

    Raises
    ------
    ShapeMismatch
        If the arrays don't belong together: dtypes, lengths, an empty box, padding that
        is not zero.
    """

    boxes: Boxes
    """(N, 4) int64: half-open y0, x0, y1, x1 in canvas pixels; not empty."""
    scores: NDArray[np.uint8]
    """(N,) uint8 in units of 1/255. Of equal scores the earlier detection is better."""
    types: NDArray[np.uint8]
    """(N,) uint8: type, 0 if untyped."""
    bits: NDArray[np.uint8]
    """(B,) uint8: bitmaps of the boxes, row by row, each padded to whole bytes."""

    def __post_init__(self) -> None:
        n = len(self.scores)
        wanted = {
            "boxes": ((n, 4), np.int64),
            "scores": ((n,), np.uint8),
            "types": ((n,), np.uint8),
        }
        for name, (shape, dtype) in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                message = (
                    f"The {name} of {n} detections must be {shape} {np.dtype(dtype)}; "
                    f"found {array.shape} {array.dtype}."
                )
                raise ShapeMismatch(message)
        height, width = self.extents.T
        if n and min(height.min(), width.min()) < 1:
            first = int(np.flatnonzero((height < 1) | (width < 1))[0])
            message = (
                f"Detection {first} of {n} has the empty box {self.boxes[first]}; "
                "leave it out."
            )
            raise ShapeMismatch(message)
        starts = self.starts
        if self.bits.dtype != np.uint8 or self.bits.shape != (starts[-1],):
            message = (
                f"Bitmaps of {n} boxes take ({starts[-1]},) uint8; "
                f"found {self.bits.shape} {self.bits.dtype}."
            )
            raise ShapeMismatch(message)
        padding = (1 << (8 * np.diff(starts) - height * width)) - 1
        if np.any(self.bits[starts[1:] - 1] & padding):
            message = "Bitmaps of detections have bits set in their padding."
            raise ShapeMismatch(message)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def extents(self) -> NDArray[np.int64]:
        """(N, 2) height and width of each box."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    @property
    def starts(self) -> NDArray[np.int64]:
        """(N + 1,) byte at which each bitmap starts; one more for the end."""
        return np.concatenate([[0], np.cumsum(_n_bytes(self.boxes))])

    @property
    def areas(self) -> NDArray[np.int64]:
        """(N,) pixels of each mask."""
        counts = np.bitwise_count(self.bits).astype(np.int64)
        return np.diff(np.concatenate([[0], np.cumsum(counts)])[self.starts])

    def unpacked(self) -> Unpacked:
        """Return the masks with a byte per pixel."""
        return Unpacked(self.boxes, np.unpackbits(self.bits), 8 * self.starts)

    @classmethod
    def packed(
        cls, masks: Unpacked, scores: NDArray[np.uint8], types: NDArray[np.uint8]
    ) -> Self:
        """Return unpacked masks packed; their padding must be 0."""
        bits = np.packbits(masks.pixels)
        return cls(boxes=masks.boxes, scores=scores, types=types, bits=bits)

    @classmethod
    def none(cls) -> Self:
        """Return no detections."""
        return cls(
            boxes=np.zeros((0, 4), np.int64),
            scores=np.zeros(0, np.uint8),
            types=np.zeros(0, np.uint8),
            bits=np.zeros(0, np.uint8),
        )

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Return some of the detections.

        Parameters
        ----------
        rows : (M,) int or (N,) bool
            Which, in the order they come out.
        """
        rows = np.arange(len(self))[rows]
        lengths, starts = _n_bytes(self.boxes)[rows], self.starts[rows]
        before = np.cumsum(lengths) - lengths
        at = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
        return type(self)(
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            types=self.types[rows],
            bits=self.bits[at],
        )


def _n_bytes(boxes: Boxes) -> NDArray[np.int64]:
    """Bytes of the bitmap of each box."""
    area: NDArray[np.int64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return -(-area // 8)


def first_pixels(boxes: Boxes) -> NDArray[np.int64]:
    """Return where each mask starts when unpacked; one more for the end."""
    return 8 * np.concatenate([[0], np.cumsum(_n_bytes(boxes))])


def concatenated(parts: list[Detections]) -> Detections:
    """Return the detections of all parts, one part after the other."""
    parts = [Detections.none(), *parts]
    return Detections(
        boxes=np.concatenate([part.boxes for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        types=np.concatenate([part.types for part in parts]),
        bits=np.concatenate([part.bits for part in parts]),
    )
