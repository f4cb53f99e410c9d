"""Boxes: half-open rectangles of whole pixels of one stated level, y before x."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """Half-open rectangle ``[y0, y1) x [x0, x1)`` in pixels.

    Of which level is said by whoever holds the box. A box may reach outside its array;
    it may be empty but not inside out.

    Raises
    ------
    ValueError
        If ``y1 < y0`` or ``x1 < x0``.
    """

    y0: int
    """First row."""
    x0: int
    """First column."""
    y1: int
    """Row after the last."""
    x1: int
    """Column after the last."""

    def __post_init__(self) -> None:
        if self.y1 < self.y0 or self.x1 < self.x0:
            message = (
                f"Box ({self.y0}, {self.x0}, {self.y1}, {self.x1}) is inside out: "
                "a box is y0, x0, y1, x1 with y0 <= y1 and x0 <= x1."
            )
            raise ValueError(message)

    @classmethod
    def of_shape(cls, shape: tuple[int, int]) -> Box:
        """Return the box that covers an array of ``shape`` (Y, X)."""
        return cls(0, 0, *shape)

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Pixels."""
        return self.height * self.width

    @property
    def is_empty(self) -> bool:
        """Whether the box holds no pixel."""
        return self.area == 0

    def grown(self, margin_px: int) -> Box:
        """Return the box with ``margin_px`` more on every side."""
        return Box(
            self.y0 - margin_px,
            self.x0 - margin_px,
            self.y1 + margin_px,
            self.x1 + margin_px,
        )

    def shifted(self, dy: int, dx: int) -> Box:
        """Return the box moved by ``dy`` rows and ``dx`` columns."""
        return Box(self.y0 + dy, self.x0 + dx, self.y1 + dy, self.x1 + dx)

    def intersection(self, other: Box) -> Box:
        """Return the common part; empty (at the nearer corner) if there is none."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        y1, x1 = min(self.y1, other.y1), min(self.x1, other.x1)
        return Box(y0, x0, max(y0, y1), max(x0, x1))

    def intersects(self, other: Box) -> bool:
        """Whether the two boxes share a pixel."""
        return not self.intersection(other).is_empty

    def contains(self, other: Box) -> bool:
        """Whether every pixel of ``other`` lies in this box."""
        return self.intersection(other) == other

    def relative_to(self, outer: Box) -> Box:
        """Return this box in the frame whose origin is the corner of ``outer``."""
        return self.shifted(-outer.y0, -outer.x0)

    def slices(self) -> tuple[slice, slice]:
        """Return the (row, column) slices of this box.

        Raises
        ------
        ValueError
            If the box starts before the array: numpy would count from the end.
        """
        if self.y0 < 0 or self.x0 < 0:
            message = f"{self} starts before its array; intersect it first."
            raise ValueError(message)
        return slice(self.y0, self.y1), slice(self.x0, self.x1)
