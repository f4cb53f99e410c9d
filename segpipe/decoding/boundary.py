"""Nuclei from a probability map that dips between them, or from their outlines.

::

    prob ─ threshold ─ bridge lines ────────► foreground ─┐
    prob, contour ─┬─ inside for sure ────────► markers ──┼─► flood ─► label map
                   └─ dip, or outline ──────► edge cost ──┘

What parts two nuclei, a line of background or their outlines, belongs to them: the
flood gives it back, half to either side. Nothing looks at the ids of markers, for a
marker that is two in a tile may be one in the slide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, Mask, ProbMap
from segpipe.decoding.flooding import flood
from segpipe.decoding.inputs import check_probability
from segpipe.decoding.limits import check_limits
from segpipe.decoding.markers import marker_pieces
from segpipe.errors import ShapeMismatch
from segpipe.labels.probable import BOUNDS
from segpipe.labels.renaming import in_raster_order

_LIMITS = {
    "foreground": (0.01, 0.99),
    "marker_open_px": (0, 8),
    "min_marker_px": (1, 1000),
    "edge_cost": (0, 250),
    "reach_px": (1, 512),
    "min_prob": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionDecoding:
    """Constants of ``decode_region``; lengths are pixels at the network's mpp."""

    CHOICES: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "foreground": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        "marker": (0.6, 0.7, 0.8, 0.85, 0.9, 0.95),
        "marker_open_px": (0, 1, 2),
        "min_marker_px": (4, 6, 10, 16),
        "edge_cost": (20, 40, 80, 160),
        "min_prob": BOUNDS,
        "line_px": (0, 2),
    }
    """What calibrating tries."""

    foreground: float = 0.5
    """Probability from which a pixel is foreground, in (0, 1)."""
    line_px: int = 2
    """Gaps of just this many pixels, along a row or a column, are lines drawn between
    touching nuclei and given back to them; 0 gives nothing back."""
    marker: float = 0.85
    """Probability from which a foreground pixel is inside for sure. With U-Net's
    class-balancing weights this is where either class is as likely in the tissue."""
    marker_open_px: int = 0
    """Radius of the opening that parts markers held together by a thread."""
    min_marker_px: int = 6
    """Markers of fewer pixels are noise."""
    edge_cost: int = 80
    """Cost of a pixel of probability 0, in quarter steps; of 1, nothing."""
    reach_px: int = 64
    """A pixel at a cost of more steps than this from a marker is in no nucleus."""
    min_prob: float = 0.0
    """Instances of a lower mean probability are no nuclei; for whole instances."""

    def __post_init__(self) -> None:
        limits = {**_LIMITS, "line_px": (0, 8), "marker": (0.0, 1.0)}
        check_limits(self, limits, "region")

    @property
    def support_px(self) -> int:
        """Pixels farther than this (chessboard) can't change a pixel's instance.

        A flood path, then what decides whether a pixel is in a marker (opening, and
        the extent of one too small to count) or is foreground (its gap), and what is
        blind along a cut.
        """
        marker = 2 * self.marker_open_px + self.min_marker_px - 1
        return self.reach_px + marker + self.line_px + self.blind_px

    @property
    def blind_px(self) -> int:
        """The opening takes what lies beyond a cut for inside, unless this is not."""
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ContourDecoding:
    """Constants of ``decode_contour``; lengths are pixels at the network's mpp."""

    CHOICES: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "foreground": (0.3, 0.4, 0.5, 0.6, 0.7),
        "contour": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        "marker_open_px": (0, 1, 2),
        "min_marker_px": (3, 6, 10, 16),
        "edge_cost": (20, 40, 80, 160),
        "min_prob": BOUNDS,
    }
    """What calibrating tries."""

    foreground: float = 0.5
    """Probability from which a pixel is foreground, in (0, 1)."""
    contour: float = 0.5
    """Outlines of at least this are no marker, in (0, 1]."""
    marker_open_px: int = 0
    """Radius of the opening that parts markers held together by a thread."""
    min_marker_px: int = 3
    """Markers of fewer pixels are noise."""
    edge_cost: int = 40
    """Cost of a pixel on an outline of 1, in quarter steps; of 0, nothing."""
    reach_px: int = 64
    """A pixel at a cost of more steps than this from a marker is in no nucleus."""
    min_prob: float = 0.0
    """Instances of a lower mean probability are no nuclei; for whole instances."""

    def __post_init__(self) -> None:
        check_limits(self, {**_LIMITS, "contour": (0.01, 1.0)}, "contour")

    @property
    def support_px(self) -> int:
        """Pixels farther than this (chessboard) can't change a pixel's instance."""
        marker = 2 * self.marker_open_px + self.min_marker_px - 1
        return self.reach_px + marker + self.blind_px

    @property
    def blind_px(self) -> int:
        """As that of `RegionDecoding`."""
        return 1


def decode_region(prob: ProbMap, *, decoding: RegionDecoding) -> LabelMap:
    """Flood touching nuclei apart along the dips of the probability between them.

    Local: which pixels share an instance with a pixel depends on its surroundings up to
    ``decoding.support_px`` only.

    Parameters
    ----------
    prob : (Y, X) uint8
        Probability of being inside an instance, and not on a line between two, in
        units of 1/255.
    decoding : RegionDecoding
        The constants.

    Returns
    -------
    (Y, X) int32
        0 is background; ids are 1..n in raster order of first pixel. Each instance is
        4-connected.

    Raises
    ------
    MapsInvalid
        If ``prob`` is of another type.

    References
    ----------
    The targets are those of Ronneberger et al. 2015, *U-Net*, section 3; the paper
    takes connected components.
    """
    check_probability("prob", prob)
    if prob.size == 0:
        return np.zeros(prob.shape, np.int32)
    foreground = _bridged(prob >= _bound(decoding.foreground), decoding.line_px)
    inside = foreground & (prob >= _bound(decoding.marker))
    return _grown(inside, np.uint8(255) - prob, foreground, decoding)


def decode_contour(
    prob: ProbMap, contour: ProbMap, *, decoding: ContourDecoding
) -> LabelMap:
    """Take the outlines off the foreground, and give them back to the pieces left.

    Local, as ``decode_region``.

    Parameters
    ----------
    prob : (Y, X) uint8
        Foreground probability in units of 1/255.
    contour : (Y, X) uint8
        Probability of lying on an outline in units of 1/255.
    decoding : ContourDecoding
        The constants.

    Returns
    -------
    (Y, X) int32
        As ``decode_region`` returns.

    Raises
    ------
    ShapeMismatch
        If ``prob`` and ``contour`` differ in shape.
    MapsInvalid
        If they are of other types.

    References
    ----------
    Chen et al. 2016, *DCAN*, equation 3, with a flood of bounded reach instead of a
    dilation.
    """
    check_probability("prob", prob)
    check_probability("contour", contour)
    if contour.shape != prob.shape:
        message = (
            f"The contour map is {contour.shape}, the prob map {prob.shape}; they must "
            "be of one shape."
        )
        raise ShapeMismatch(message)
    if prob.size == 0:
        return np.zeros(prob.shape, np.int32)
    foreground = np.asarray(prob >= _bound(decoding.foreground))
    inside = foreground & (contour < _bound(decoding.contour))
    return _grown(inside, contour, foreground, decoding)


def _bound(probability: float) -> int:
    """Return the least stored value that is no less than a probability."""
    return math.ceil(probability * 255)


def _bridged(mask: Mask, line_px: int) -> Mask:
    """Add the gaps of exactly ``line_px`` pixels along rows and columns."""
    bridged = mask.copy()
    if line_px:
        _bridge_rows(mask, bridged, line_px)
        _bridge_rows(mask.T, bridged.T, line_px)
    return bridged


@njit(cache=True, nogil=True)
def _bridge_rows(mask: Mask, bridged: Mask, line_px: int) -> None:
    for y in range(mask.shape[0]):
        before = -line_px - 2
        for x in range(mask.shape[1]):
            if mask[y, x]:
                if x - before == line_px + 1:
                    bridged[y, before + 1 : x] = True
                before = x


def _grown(
    inside: Mask,
    edge: NDArray[np.uint8],
    foreground: Mask,
    decoding: RegionDecoding | ContourDecoding,
) -> LabelMap:
    """Let the pieces of ``inside`` flood the foreground; edges cost."""
    markers, n_ids = marker_pieces(
        inside.astype(np.uint8),
        open_px=decoding.marker_open_px,
        min_px=decoding.min_marker_px,
    )
    cost = (edge.astype(np.uint16) * np.uint16(decoding.edge_cost) // 255).astype(
        np.uint8
    )
    labels = flood(markers, cost, foreground, reach_px=decoding.reach_px)
    in_raster_order(labels, n_ids)
    return labels
