"""The columns of a nuclei table, declared once: name, type, unit, meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1
"""Raised when a column changes name, type or meaning; new columns don't raise it."""

Dtype = Literal["uint8", "uint32", "float32", "float64", "bool", "string", "wkb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Byte strings of various lengths, one after the other in one buffer."""

    buffer: NDArray[np.uint8]
    """(n_bytes,) all of them."""
    offsets: NDArray[np.int64]
    """(N + 1,) string ``i`` is ``buffer[offsets[i]:offsets[i + 1]]``."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        return self.buffer[self.offsets[index] : self.offsets[index + 1]].tobytes()


Columns = Mapping[str, NDArray[Any] | Packed]
"""Columns of equal length by name, in the order of the schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table."""

    name: str
    """As it stands in the file; units and frames are suffixes."""
    dtype: Dtype
    """``wkb`` is a polygon in Well-Known Binary."""
    unit: str
    """``um``, ``um2``, ``px`` (of level 0), ``rad``, ``od`` (optical density), ``bit``,
    or empty where there is none."""
    meaning: str
    """One sentence; also written into the file, at the column."""


def _column(name: str, dtype: Dtype, unit: str, meaning: str) -> Column:
    return Column(name=name, dtype=dtype, unit=unit, meaning=meaning)


COLUMNS: tuple[Column, ...] = (
    _column("slide_id", "string", "", "Slide the nucleus lies on."),
    _column("nucleus_id", "uint32", "", "Rank of the nucleus on the slide, from 1."),
    _column("y_um", "float64", "um", "Centroid, from the slide's upper edge."),
    _column("x_um", "float64", "um", "Centroid, from the slide's left edge."),
    _column("y_l0_px", "float64", "px", "Centroid; pixel i of level 0 spans [i, i+1)."),
    _column("x_l0_px", "float64", "px", "Centroid; pixel i of level 0 spans [i, i+1)."),
    _column("ymin_l0_px", "float64", "px", "Upper end of the extent."),
    _column("xmin_l0_px", "float64", "px", "Left end of the extent."),
    _column("ymax_l0_px", "float64", "px", "Lower end of the extent, exclusive."),
    _column("xmax_l0_px", "float64", "px", "Right end of the extent, exclusive."),
    _column("area_um2", "float32", "um2", "Number of pixels times their area."),
    _column("perimeter_um", "float32", "um", "Crofton's formula in four directions."),
    _column(
        "major_axis_um", "float32", "um", "Long axis of the ellipse of equal moments."
    ),
    _column(
        "minor_axis_um", "float32", "um", "Short axis of the ellipse of equal moments."
    ),
    _column(
        "orientation_rad",
        "float32",
        "rad",
        "Angle from the y axis to the long axis, in [-pi/2, pi/2]; positive towards x.",
    ),
    _column(
        "eccentricity", "float32", "", "Of the ellipse of equal moments; 0 is round."
    ),
    _column("solidity", "float32", "", "Pixels over pixels of the convex hull."),
    _column(
        "circularity", "float32", "", "4 pi area / perimeter^2, at most 1; 1 is a disc."
    ),
    _column(
        "hematoxylin_od_mean", "float32", "od", "Mean hematoxylin over the nucleus."
    ),
    _column(
        "hematoxylin_od_std", "float32", "od", "Its standard deviation over the pixels."
    ),
    _column("eosin_od_mean", "float32", "od", "Mean eosin over the nucleus."),
    _column("eosin_od_std", "float32", "od", "Its standard deviation over the pixels."),
    _column(
        "hematoxylin_od_contrast",
        "float32",
        "od",
        "Mean absolute difference of hematoxylin between adjacent pixels: its grain.",
    ),
    _column(
        "hematoxylin_entropy",
        "float32",
        "bit",
        "Shannon entropy of hematoxylin in bins of 1/32 optical density.",
    ),
    _column("type_id", "uint8", "", "Type; 0 is untyped."),
    _column("type_name", "string", "", "Name of the type; empty if untyped."),
    _column(
        "type_prob", "float32", "", "Mean probability of that type over the nucleus."
    ),
    _column("prob", "float32", "", "Mean foreground probability over the nucleus."),
    _column(
        "touches_slide_edge", "bool", "", "Whether the nucleus may be cut by the slide."
    ),
    _column(
        "seam_distance_um",
        "float32",
        "um",
        "From the centroid to the nearest seam of inference windows; NaN if none.",
    ),
    _column(
        "geometry",
        "wkb",
        "px",
        "Outline along pixel edges with its holes, x before y, level-0 pixels.",
    ),
)
"""All columns in the order of the file."""

DICTIONARY_COLUMNS = ("slide_id", "type_name")
"""Columns of few distinct values, stored as codes."""
