"""Warping one mask towards another without changing its topology.

Nuclei are 4-connected and the background is 8-connected. Beyond the border everything
is background.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import Mask
from segpipe.errors import ShapeMismatch


def parted(labels: NDArray[Any]) -> Mask:
    """Return the foreground without the pixels where two instances meet.

    A pixel goes if one of its eight neighbours belongs to another instance, so that
    instances are apart whatever their ids; the lines are two pixels wide.

    Parameters
    ----------
    labels : (Y, X) int
        Label map.

    Returns
    -------
    (Y, X) bool
    """
    mask: Mask = labels != 0
    cut = np.zeros(labels.shape, np.bool_)
    for here, beside in _NEIGHBOURS:
        meets = labels[here] != labels[beside]
        meets &= mask[here]
        meets &= mask[beside]
        cut[here] |= meets
        cut[beside] |= meets
    return mask & ~cut


_ALL, _FIRST, _LAST = slice(None), slice(None, -1), slice(1, None)
_NEIGHBOURS = (
    ((_ALL, _FIRST), (_ALL, _LAST)),
    ((_FIRST, _ALL), (_LAST, _ALL)),
    ((_FIRST, _FIRST), (_LAST, _LAST)),
    ((_FIRST, _LAST), (_LAST, _FIRST)),
)
"""Where a pixel and its neighbour are, in each of four directions."""


def warped(truth: Mask, found: Mask) -> Mask:
    """Warp the truth towards what was found, as far as its topology allows.

    Pixels that differ are flipped, first come first served from the upper left, while
    they are simple: while no nucleus or hole appears, vanishes, parts or merges. What
    still differs at the end is a topological error; the order makes it a local minimum.

    Parameters
    ----------
    truth, found : (Y, X) bool
        Masks.

    Returns
    -------
    (Y, X) bool
        The warped truth.

    Raises
    ------
    ShapeMismatch
        If the masks differ in shape.

    References
    ----------
    Jain et al. 2010, *Boundary learning by optimization with topological constraints*,
    CVPR, section 2; used by the ISBI 2012 challenge (Arganda-Carreras et al. 2015).
    """
    if truth.shape != found.shape:
        message = f"The truth is {truth.shape}, the mask {found.shape}."
        raise ShapeMismatch(message)
    mask = np.pad(truth, 1).astype(np.uint8)
    goal = np.pad(found, 1).astype(np.uint8)
    _flip(mask, goal, np.flatnonzero(mask != goal), SIMPLE)
    return mask[1:-1, 1:-1].astype(np.bool_)


def _is_simple(ring: int) -> bool:
    """Whether flipping a pixel with these neighbours leaves the topology alone.

    ``ring`` holds the neighbours from the right round, a bit each. It is so if the
    4-connectivity number is 1; Yokoi et al. 1975.
    """
    inside = [(ring >> bit) & 1 for bit in range(8)]
    turns = (
        inside[k] - inside[k] * inside[k + 1] * inside[(k + 2) % 8]
        for k in range(0, 8, 2)
    )
    return sum(turns) == 1


SIMPLE = np.array([_is_simple(ring) for ring in range(256)], np.bool_)
"""(256,) whether a pixel is simple, by its neighbours from the right round."""


@njit(cache=True, nogil=True)
def _flip(
    mask: NDArray[np.uint8],
    goal: NDArray[np.uint8],
    differing: NDArray[np.int64],
    simple: NDArray[np.bool_],
) -> None:
    """Flip simple pixels of a padded mask in place until none that differs is left."""
    width = mask.shape[1]
    ring = np.array(
        (1, 1 - width, -width, -width - 1, -1, width - 1, width, width + 1), np.int64
    )
    flat, wanted = mask.ravel(), goal.ravel()
    queued = np.zeros(flat.size, np.bool_)
    queue = np.empty(differing.size + 1, np.int64)
    queue[: differing.size] = differing
    queued[differing] = True
    head, tail = 0, differing.size
    while head != tail:
        at = queue[head]
        head = (head + 1) % queue.size
        queued[at] = False
        code = 0
        for bit in range(8):
            code |= flat[at + ring[bit]] << bit
        if not simple[code]:
            continue
        flat[at] = wanted[at]
        for bit in range(8):
            beside = at + ring[bit]
            if flat[beside] != wanted[beside] and not queued[beside]:
                queue[tail] = beside
                tail = (tail + 1) % queue.size
                queued[beside] = True
