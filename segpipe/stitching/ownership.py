"""Which window answers for a nucleus that several windows detect (ADR 0006).

::

        window A                  window B          a nucleus is *owned* by the window
     ┌─────────────┬ ─ ─ ─ ┬─────────────┐          whose core holds its centre.
     │             ·  │    ·             │
     │      a      · a│b   ·      b      │          A *vouches* for what it sees with a
     │             ·  │    ·             │          centre up to vouch_px outside its
     └─────────────┴ ─ ─ ─ ┴─────────────┘          core; as a *guest* only there.
                     seam

A mask cut by the border of a window's input has its centre far outside the core, or is
larger than any nucleus: it is never a claim. So every claim shows a nucleus whole, and
of claims that conflict one is kept as it is; nothing is put together from halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.errors import SettingsError, ShapeMismatch
from segpipe.geometry import Box
from segpipe.labels.detections import Detections, concatenated
from segpipe.labels.masks import SharedPixels, one_piece, shared_pixels
from segpipe.tiling.grid import TileGrid

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LINKS = 4
"""Conflicts from a claim to the farthest one that has a say in its fate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Who answers for what: the lattice of windows and the constants of claiming.

    Raises
    ------
    SettingsError
        If the inputs of windows two apart overlap, or no nucleus is small enough to be
        seen whole by every window that vouches for it.
    """

    lattice: TileGrid
    """Cores of the windows."""
    margin_px: int
    """Context around the core that the network sees, on each side."""
    run: NDArray[np.bool_]
    """(n_windows,) bool: which windows the network ran on."""
    vouch_px: int = 16
    """A window vouches for centres this far outside its core. At least by how much two
    windows may differ about the centre of one nucleus."""
    edge_px: int = 2
    """A mask that ends this near to the border of the input is taken for cut."""

    def __post_init__(self) -> None:
        if 2 * self.margin_px > self.lattice.tile_px:
            message = (
                f"Windows with cores of {self.lattice.tile_px} px and margins of "
                f"{self.margin_px} px overlap their second neighbours. Ownership needs "
                f"margins of at most {self.lattice.tile_px // 2} px."
            )
            raise SettingsError(message)
        if self.max_extent_px < 1 or self.vouch_px < 0 or self.edge_px < 0:
            message = (
                f"vouch_px {self.vouch_px} and edge_px {self.edge_px} must be 0 or "
                f"more and leave some of the margin of {self.margin_px} px: a nucleus "
                "up to twice what is left is seen whole."
            )
            raise SettingsError(message)
        if self.run.shape != (len(self.lattice),) or self.run.dtype != np.bool_:
            message = (
                f"run must be ({len(self.lattice)},) bool, one per window; "
                f"found {self.run.shape} {self.run.dtype}."
            )
            raise ShapeMismatch(message)

    @property
    def max_extent_px(self) -> int:
        """Highest and widest nucleus that every window vouching for it sees whole."""
        return 2 * (self.margin_px - self.vouch_px - self.edge_px)

    @property
    def support_px(self) -> int:
        """Claims that keep farther than this from a box can't change its nuclei."""
        return support_px(self.max_extent_px)

    def windows_of(self, box: Box) -> tuple[int, ...]:
        """Return the windows whose claims decide the nuclei of a box, ascending."""
        near = self.lattice.overlapping(box.grown(self.support_px + self.margin_px))
        return tuple(index for index in near if self.run[index])


def support_px(extent_px: int) -> int:
    """Return how far claims of up to an extent have a say in the nuclei of a box.

    A nucleus of the box, the one it shares pixels with, and the conflicts that decide
    whether that one is there: each reaches one extent less one pixel farther; the last
    need only be touched.
    """
    return (1 + LINKS) * (extent_px - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The detections that windows vouch for."""

    detections: Detections
    """N masks in one 4-connected piece, in tight boxes."""
    window: Ints
    """(N,) int64: who vouches."""

    @classmethod
    def of(cls, detections: Detections, window: int) -> Self:
        """Return what one window vouches for."""
        return cls(
            detections=detections,
            window=np.full(len(detections), window, np.int64),
        )

    def __len__(self) -> int:
        return len(self.window)

    @property
    def largest_px(self) -> int:
        """Height or width of the largest mask; 0 if there is none."""
        return int(self.detections.extents.max(initial=0))

    def take(self, rows: Ints | Bools) -> Claims:
        """Return some of the claims."""
        return Claims(detections=self.detections.take(rows), window=self.window[rows])


def claims_of(detections: Detections, window: int, ownership: Ownership) -> Claims:
    """Return what a window vouches for, each nucleus once.

    A function of what this one window says; made when it has been predicted.

    Parameters
    ----------
    detections
        What the network says of the window, in canvas pixels. Of what lies beyond the
        canvas, which is mirrored, pixels are dropped, and masks that are mostly there.
        Among equal scores the better comes first.
    window : int
        Index on the lattice.
    ownership
        The constants.
    """
    seen = _on_canvas(detections, Box.of_shape(ownership.lattice.shape))
    seen = seen.take(_is_vouched(seen, window, ownership))
    conflicts = conflicting(seen, shared_pixels(seen))
    rank = np.empty(len(seen), np.int64)
    rank[np.argsort(255 - seen.scores, kind="stable")] = np.arange(len(seen))
    kept = first_served(conflicts, rank, np.ones(len(seen), np.bool_))
    return Claims.of(seen.take(kept), window)


def n_too_large(detections: Detections, window: int, ownership: Ownership) -> int:
    """Count what is centred in a window's core but larger than any claim may be.

    Such detections are dropped, being perhaps cut; many of them mean that the margin is
    too narrow for the tissue's nuclei.
    """
    seen = _on_canvas(detections, Box.of_shape(ownership.lattice.shape))
    large = seen.extents.max(axis=1, initial=0) > ownership.max_extent_px
    own = holders(seen, ownership.lattice) == window
    return int(np.count_nonzero(large & own))


def _on_canvas(detections: Detections, canvas: Box) -> Detections:
    """Cut masks to the canvas; what is mostly outside is a mirror image.

    A nucleus at the edge and its image are one mask, half of it inside.
    """
    seen, rows = one_piece(detections, canvas)
    whole = _within(detections, canvas)[rows]
    return seen.take(whole | (4 * seen.areas >= detections.areas[rows]))


def _is_vouched(seen: Detections, window: int, ownership: Ownership) -> Bools:
    """Whether a mask is no larger than a nucleus and has its centre near the core.

    Where a window was not run nobody owns; there a neighbour vouches for all that it
    sees whole.
    """
    core = ownership.lattice.core(window)
    near = _inside(centres(seen), core.grown(ownership.vouch_px))
    nobodys = ~ownership.run[holders(seen, ownership.lattice)]
    side = ownership.lattice.tile_px
    whole = Box(core.y0, core.x0, core.y0 + side, core.x0 + side)
    clear = _within(seen, whole.grown(ownership.margin_px - ownership.edge_px))
    small = seen.extents.max(axis=1, initial=0) <= ownership.max_extent_px
    vouched: Bools = small & clear & (near | nobodys)
    return vouched


def centres(detections: Detections) -> Ints:
    """Return the pixel (N, 2) in the middle of each box, the upper left of two."""
    return (detections.boxes[:, :2] + detections.boxes[:, 2:] - 1) // 2


def holders(detections: Detections, lattice: TileGrid) -> Ints:
    """Return the window (N,) whose core holds each centre: the owner."""
    row, col = (centres(detections) // lattice.tile_px).T
    return np.asarray(row * lattice.n_cols + col, np.int64)


def _inside(points: Ints, box: Box) -> Bools:
    y, x = points.T
    inside: Bools = (y >= box.y0) & (y < box.y1) & (x >= box.x0) & (x < box.x1)
    return inside


def _within(detections: Detections, box: Box) -> Bools:
    low, high = detections.boxes[:, :2], detections.boxes[:, 2:] - 1
    return _inside(low, box) & _inside(high, box)


def conflicting(detections: Detections, shared: SharedPixels) -> SharedPixels:
    """Return the pairs that can't both be nuclei: more than half of one is shared."""
    areas = detections.areas
    smaller = np.minimum(areas[shared.one], areas[shared.other])
    return shared.where(2 * shared.n_shared > smaller)


def first_served(conflicts: SharedPixels, rank: Ints, there: Bools) -> Bools:
    """Drop, in order of rank, what conflicts with something that is still there.

    Parameters
    ----------
    conflicts
        Pairs of different rank.
    rank : (N,) int64
        The lower goes first.
    there : (N,) bool
        Which take part.

    Returns
    -------
    (N,) bool
        Which are left: no two conflict, and each one dropped conflicts with one of
        lower rank that is left.
    """
    one_first = rank[conflicts.one] < rank[conflicts.other]
    better = np.where(one_first, conflicts.one, conflicts.other)
    worse = np.where(one_first, conflicts.other, conflicts.one)
    order = np.argsort(rank[better], kind="stable")
    left = there.copy()
    _drop(better[order], worse[order], left)
    return left


@njit(cache=True, nogil=True)
def _drop(better: Ints, worse: Ints, left: Bools) -> None:
    for pair in range(len(better)):
        if left[better[pair]]:
            left[worse[pair]] = False


def in_order(parts: list[Claims]) -> Claims:
    """Put the claims of some windows together, whatever order they come in."""
    parts = sorted((part for part in parts if len(part)), key=lambda p: p.window[0])
    return Claims(
        detections=concatenated([part.detections for part in parts]),
        window=np.concatenate([np.zeros(0, np.int64), *(p.window for p in parts)]),
    )


def survivors(claims: Claims, shared: SharedPixels, lattice: TileGrid) -> Bools:
    """Decide which claims are nuclei; of those that conflict, one.

    Owners come before guests. Among owners, and among guests, windows speak in order of
    their colour, by even and odd row and column; two windows of one colour have no
    pixel in common, so nothing is left to decide between them. A guest is heard only
    where no owner says anything.

    So a fate depends on at most ``LINKS`` conflicts in a chain, and on nothing else.

    Parameters
    ----------
    claims
        Claims of any windows, in their order.
    shared
        Their shared pixels.
    lattice
        Cores of the windows.

    Returns
    -------
    (N,) bool
        Which are nuclei. The fate of a claim is that among all claims of the slide if
        the claims given hold all that ``LINKS`` conflicts lead to.
    """
    conflicts = conflicting(claims.detections, shared)
    owning = holders(claims.detections, lattice) == claims.window
    row, col = np.divmod(claims.window, lattice.n_cols)
    colour = 2 * (row % 2) + col % 2
    one, other = owning[conflicts.one], owning[conflicts.other]
    owners = first_served(conflicts.where(one & other), colour, owning)
    heard = ~owning
    heard[conflicts.one[other]] = False
    heard[conflicts.other[one]] = False
    between_guests = conflicts.where(~one & ~other)
    guests = first_served(between_guests, colour, heard)
    return np.asarray(owners | guests)
