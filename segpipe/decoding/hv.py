"""Nuclei from a probability map and HoVer-Net's gradient maps, pixel by pixel local.

::

    prob ─ smooth ─ threshold ──────────────► foreground ─┐
    hv ─── slopes ─ outflow ─┬─ below a bound ► markers ──┼─► flood ─► label map
                             └─────────────────► edge cost┘

Inside a nucleus the offsets *rise* (h to the right, v downwards); where two nuclei
touch, or a nucleus ends, they *fall*, from +1 to −1. The fall is the edge that the
flood pays for; a nucleus's inside, where nothing falls, is its marker.

Everything is integer arithmetic on fixed scales. The published decoding scales the
slopes by the minimum and maximum of the array at hand, so a nucleus depends on what
else is in its tile (ADR 0003).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import HVMap, LabelMap, Mask, ProbMap
from segpipe.decoding.flooding import flood
from segpipe.decoding.inputs import check_offsets, check_probability
from segpipe.decoding.limits import check_limits
from segpipe.decoding.markers import marker_pieces
from segpipe.errors import ShapeMismatch
from segpipe.labels.probable import BOUNDS
from segpipe.labels.renaming import in_raster_order


@dataclass(frozen=True, slots=True, kw_only=True)
class HVDecoding:
    """Constants of the decoder in pixels; the defaults are for 0.5 um per pixel."""

    CHOICES: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "foreground": (0.4, 0.45, 0.5, 0.55, 0.6),
        "smooth_px": (0, 1, 2),
        "slope_px": (1, 2, 3, 4, 5, 6),
        "marker_fall": (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06),
        "marker_core": (0.6, 0.7, 0.8, 0.9, 1.0),
        "marker_open_px": (0, 1, 2, 3),
        "min_marker_px": (4, 8, 12, 16, 24, 32, 48, 64),
        "edge_cost": (30, 60, 120, 240),
        "reach_px": (24, 32, 48, 64),
        "min_prob": BOUNDS,
    }
    """What calibrating tries, for networks at 0.25 and at 0.5 um per pixel."""

    foreground: float = 0.5
    """Smoothed probability from which a pixel is foreground, in (0, 1)."""
    smooth_px: int = 1
    """Radius of the box mean that smooths the probability; 0 is none."""
    slope_px: int = 2
    """Radius of the slope filter: a triangle-weighted difference, smoothed across."""
    marker_fall: float = 0.06
    """A marker's offsets fall by less than this per pixel."""
    marker_core: float = 1.0
    """A marker's offsets are no longer than this; 1.5 and more is no condition."""
    marker_open_px: int = 1
    """Radius of the opening that parts markers held together by a thread."""
    min_marker_px: int = 4
    """Markers of fewer pixels are noise."""
    edge_cost: int = 60
    """Cost of a pixel where the offsets fall by 0.5 per pixel, in quarter steps."""
    most_cost: int = 80
    """No pixel costs more than this, in quarter steps, however steep the fall."""
    reach_px: int = 64
    """A pixel at a cost of more steps than this from a marker is in no nucleus."""
    min_prob: float = 0.0
    """Instances of a lower mean probability are no nuclei; for whole instances."""

    def __post_init__(self) -> None:
        limits = {
            "foreground": (0.01, 0.99),
            "smooth_px": (0, 8),
            "slope_px": (1, 12),
            "marker_fall": (0.0, 4.0),
            "marker_core": (0.0, 2.0),
            "marker_open_px": (0, 8),
            "min_marker_px": (1, 1000),
            "edge_cost": (0, 1000),
            "most_cost": (0, 250),
            "reach_px": (1, 512),
            "min_prob": (0.0, 1.0),
        }
        check_limits(self, limits, "HV")

    @property
    def support_px(self) -> int:
        """Pixels farther than this (chessboard) can't change a pixel's instance.

        A flood path, then the extent of a marker too small to count, its opening
        (erosion and dilation), the smoothing, and what is blind along a cut.
        """
        marker = (self.min_marker_px - 1) + 2 * self.marker_open_px
        return self.reach_px + marker + self.smooth_px + self.blind_px

    @property
    def blind_px(self) -> int:
        """How far from a cut the slopes are wrong, and what is smoothed into there."""
        return self.slope_px + self.smooth_px


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarterMicronDecoding(HVDecoding):
    """The constants at 0.25 um per pixel, where nuclei are twice as long in pixels."""

    marker_open_px: int = 2
    min_marker_px: int = 10
    reach_px: int = 100


def decode_hv(prob: ProbMap, hv: HVMap, *, decoding: HVDecoding) -> LabelMap:
    """Flood touching nuclei apart along the falls of the hv map.

    Local: which pixels share an instance with a pixel depends on its surroundings up to
    ``decoding.support_px`` only, so a pixel that far inside a tile has the instance it
    has in the slide.

    Parameters
    ----------
    prob : (Y, X) uint8
        Foreground probability in units of 1/255.
    hv : (2, Y, X) int8
        Horizontal, vertical offset from the instance centre in units of 1/127 of its
        half extent.
    decoding : HVDecoding
        The constants.

    Returns
    -------
    (Y, X) int32
        0 is background; ids are 1..n in raster order of first pixel. Each instance is
        4-connected.

    Raises
    ------
    ShapeMismatch
        If ``prob`` and ``hv`` differ in height or width.
    MapsInvalid
        If they are of other types, or an offset is longer than 1.

    References
    ----------
    Graham et al. 2019, §3.3, with a fixed gradient scale instead of per-image min-max
    and a flood of bounded reach instead of a watershed (ADR 0003).
    """
    check_probability("prob", prob)
    if hv.shape != (2, *prob.shape):
        message = (
            f"The hv map must be (2, Y, X) over the prob map's (Y, X); "
            f"found {hv.shape} over {prob.shape}."
        )
        raise ShapeMismatch(message)
    check_offsets(hv)
    if prob.size == 0:
        return np.zeros(prob.shape, np.int32)
    foreground = foreground_mask(prob, decoding)
    fall = fall_map(hv, decoding.slope_px)
    markers, n_markers = _markers(foreground, fall, hv, decoding)
    edge_cost = _edge_cost(fall, decoding.edge_cost, decoding.most_cost)
    labels = flood(markers, edge_cost, foreground, reach_px=decoding.reach_px)
    in_raster_order(labels, n_markers)
    return labels


def foreground_mask(prob: ProbMap, decoding: HVDecoding) -> Mask:
    """Smooth the probability and threshold it."""
    side = 2 * decoding.smooth_px + 1
    total = cv2.boxFilter(
        prob, cv2.CV_32S, (side, side), normalize=False, borderType=cv2.BORDER_REPLICATE
    )
    bound = int(np.ceil(decoding.foreground * 255 * side * side))
    return np.asarray(total >= bound)


FALL_UNIT = 256
"""A fall of 1.0 per pixel in the units of ``fall_map``."""


def fall_map(hv: HVMap, slope_px: int) -> NDArray[np.int16]:
    """Return how steeply the offsets fall, at a fixed scale.

    Returns
    -------
    (Y, X) int16
        The larger of the falls of h along x and of v along y, in units of
        ``1 / FALL_UNIT`` per pixel; negative where both rise.
    """
    along = _triangle_difference(slope_px)
    across = _triangle(max(1, slope_px // 2))
    # Integers below 2**24 in float32: the sums are exact in any order of summation.
    planes = hv.astype(np.float32)
    border = cv2.BORDER_REPLICATE
    fall_x = cv2.sepFilter2D(planes[0], cv2.CV_32F, along, across, borderType=border)
    fall_y = cv2.sepFilter2D(planes[1], cv2.CV_32F, across, along, borderType=border)
    gain = float(-(along * np.arange(-slope_px, slope_px + 1)).sum() * across.sum())
    fall: NDArray[np.int16] = _scaled(
        np.maximum(fall_x, fall_y), FALL_UNIT / 127 / gain
    )
    return fall


def _triangle(radius: int) -> NDArray[np.float32]:
    """Smoothing weights 1, 2, …, radius + 1, …, 2, 1."""
    offset = np.arange(-radius, radius + 1)
    return np.asarray(radius + 1 - np.abs(offset), np.float32)


def _triangle_difference(radius: int) -> NDArray[np.float32]:
    """Odd weights that answer a falling ramp with a positive number."""
    offset = np.arange(-radius, radius + 1)
    return np.asarray(-np.sign(offset) * (radius + 1 - np.abs(offset)), np.float32)


@njit(cache=True, nogil=True)
def _scaled(values: NDArray[np.float32], factor: float) -> NDArray[np.int16]:
    """Scale exact integers to int16, rounding down; each pixel by itself."""
    scaled = np.empty(values.shape, np.int16)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            scaled[y, x] = np.int16(np.floor(np.float64(values[y, x]) * factor))
    return scaled


@njit(cache=True, nogil=True)
def _edge_cost(fall: NDArray[np.int16], at_half: int, most: int) -> NDArray[np.uint8]:
    """Cost of entering a pixel: ``at_half`` where the fall is 0.5, at most ``most``."""
    cost = np.empty(fall.shape, np.uint8)
    for y in range(fall.shape[0]):
        for x in range(fall.shape[1]):
            steep = max(0, int(fall[y, x]))
            cost[y, x] = min(most, steep * at_half // 128)
    return cost


@njit(cache=True, nogil=True)
def _inside(
    foreground: Mask, fall: NDArray[np.int16], hv: HVMap, most_fall: int, most_long: int
) -> NDArray[np.uint8]:
    """Foreground where the offsets neither fall nor are long."""
    inside = np.zeros(foreground.shape, np.uint8)
    for y in range(foreground.shape[0]):
        for x in range(foreground.shape[1]):
            if foreground[y, x] and fall[y, x] < most_fall:
                h, v = np.int32(hv[0, y, x]), np.int32(hv[1, y, x])
                inside[y, x] = h * h + v * v <= most_long * most_long
    return inside


def _markers(
    foreground: Mask, fall: NDArray[np.int16], hv: HVMap, decoding: HVDecoding
) -> tuple[LabelMap, int]:
    """One id per nucleus's inside, and how many ids there are."""
    most_fall = round(decoding.marker_fall * FALL_UNIT)
    most_long = round(decoding.marker_core * 127)
    inside = _inside(foreground, fall, hv, most_fall, most_long)
    return marker_pieces(
        inside, open_px=decoding.marker_open_px, min_px=decoding.min_marker_px
    )
