"""Whether nuclei at the seams of inference windows differ from the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.metrics.adding import Additive
from segpipe.tables.frame import Frame

NEAR_PX = 20
"""Canvas pixels from a seam within which an anchor counts as near."""
COLUMNS = (
    "area_um2",
    "ymin_l0_px",
    "xmin_l0_px",
    "ymax_l0_px",
    "xmax_l0_px",
)
"""Columns of the table that the check reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeamCheck:
    """Nuclei near seams against the rest; on a sound run the ratios are about 1."""

    n_near: int
    """Nuclei near a seam."""
    n_interior: int
    """Nuclei that aren't near one."""
    density_ratio: float
    """Share of nuclei near seams over the share of the canvas near them."""
    area_ratio: float
    """Mean area of nuclei near seams over that of the others."""
    straight_share_near: float
    """Share of the nuclei near seams whose extent ends exactly on one: they have a
    straight edge there if a seam has cut them."""
    straight_share_interior: float
    """The same of the nuclei near lines half-way between the seams, where nothing can
    cut: those that end on such a line by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums(Additive):
    """What is counted of some nuclei."""

    n_near: int = 0
    n_interior: int = 0
    near_um2: float = 0.0
    interior_um2: float = 0.0
    n_ending: int = 0
    n_near_half_way: int = 0
    n_ending_half_way: int = 0


def check_seams(parts: Iterable[Any], frame: Frame) -> SeamCheck | None:
    """Compare nuclei near the seams of a slide with the others.

    Parameters
    ----------
    parts
        A slide's table in parts, each a DataFrame or mapping with ``COLUMNS`` and
        ``anchor``, the nuclei's first pixels in raster order of the canvas; one part is
        held at a time.
    frame
        The slide's frame; its box plays no part.

    Returns
    -------
    SeamCheck or None
        None if there are no nuclei on one of the sides, as on a slide of one window.
    """
    total = reduce(add, (_sums(nuclei, frame) for nuclei in parts), _Sums())
    if total.n_near == 0 or total.n_interior == 0:
        return None
    share = total.n_near / (total.n_near + total.n_interior)
    near_um2 = total.near_um2 / total.n_near
    return SeamCheck(
        n_near=total.n_near,
        n_interior=total.n_interior,
        density_ratio=share / share_within(NEAR_PX, frame),
        area_ratio=near_um2 / (total.interior_um2 / total.n_interior),
        straight_share_near=total.n_ending / total.n_near,
        straight_share_interior=total.n_ending_half_way / (total.n_near_half_way or 1),
    )


def _sums(nuclei: Any, frame: Frame) -> _Sums:  # noqa: ANN401
    column = {name: np.asarray(nuclei[name], np.float64) for name in COLUMNS}
    y, x = np.divmod(np.asarray(nuclei["anchor"], np.int64), frame.canvas_shape[1])
    half_px = frame.window_px // 2
    near = frame.seam_distance_px(y + 0.5, x + 0.5) < NEAR_PX
    half_way = frame.seam_distance_px(y + half_px + 0.5, x + half_px + 0.5) < NEAR_PX
    area_um2 = column["area_um2"]
    return _Sums(
        n_near=int(near.sum()),
        n_interior=int((~near).sum()),
        near_um2=float(area_um2[near].sum()),
        interior_um2=float(area_um2[~near].sum()),
        n_ending=int((near & _ending(column, frame, 0)).sum()),
        n_near_half_way=int(half_way.sum()),
        n_ending_half_way=int((half_way & _ending(column, frame, half_px)).sum()),
    )


def share_within(distance_px: float, frame: Frame) -> float:
    """Return the share of the canvas that lies nearer to a seam than a distance."""
    far = [
        1 - _covered_px(distance_px, length, frame.window_px) / length
        for length in frame.canvas_shape
    ]
    return 1 - far[0] * far[1]


def _covered_px(distance_px: float, length: int, period: int) -> float:
    """Length of a side that lies nearer to an inner line than a distance.

    The first and the last window have a line at one end, the others at both.
    """
    n_lines = (length - 1) // period
    if n_lines == 0:
        return 0.0
    last_px = length - n_lines * period
    ends_px = min(distance_px, period) + min(distance_px, last_px)
    return ends_px + (n_lines - 1) * min(2 * distance_px, period)


def _ending(
    column: Mapping[str, NDArray[np.float64]], frame: Frame, before_px: int
) -> NDArray[np.bool_]:
    """Return which nuclei have a side of their extent ``before_px`` before a seam."""
    ending = np.zeros(column["area_um2"].size, np.bool_)
    for axis, length in zip("yx", frame.canvas_shape, strict=True):
        lines = np.arange(frame.window_px, length, frame.window_px) - before_px
        for side in ("min", "max"):
            side_px = np.rint(column[f"{axis}{side}_l0_px"] / frame.downsample)
            ending |= np.isin(side_px, lines)
    return ending
