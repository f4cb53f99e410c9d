"""Which stated resolution to believe: micrometres, square pixels, a microscope's range.

A file that says 72 dpi says nothing about a microscope, and a slide without mpp is
refused by the plan with a way out; a wrong mpp would silently spoil every number. So a
doubtful statement becomes ``None`` and a note.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FINEST_UM = 0.05
"""Finer than any scanner: light doesn't resolve it."""
COARSEST_UM = 20.0
"""Coarser than any scan: a nucleus is smaller than a pixel. 300 dpi is 85 um."""
SQUARE_TOLERANCE = 0.02
"""Relative difference of height and width of a pixel that still counts as square."""

UM_PER_UNIT = {
    "m": 1e6,
    "meter": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "inch": 25_400.0,
    "in": 25_400.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "um": 1.0,
    "\N{MICRO SIGN}m": 1.0,
    "\N{GREEK SMALL LETTER MU}m": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "pm": 1e-6,
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "\N{ANGSTROM SIGN}": 1e-4,
}
"""Micrometres in a unit of length, by its name in OME, NGFF, ImageJ and TIFF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a file says of its pixel size, judged."""

    mpp: float | None
    """Micrometres per level-0 pixel, or ``None`` if nothing believable is said."""
    note: str
    """Why a statement was not believed; empty if there is nothing to say."""

    def properties(self) -> dict[str, str]:
        """Return the note as a slide property, if there is one."""
        return {"resolution": self.note} if self.note else {}


UNSTATED = Resolution(mpp=None, note="")


def judged(height_um: float, width_um: float) -> Resolution:
    """Judge a stated pixel size.

    Parameters
    ----------
    height_um, width_um
        Size of a level-0 pixel. NaN, zero and negative values are not believed.

    Returns
    -------
    Resolution
        With the mean as mpp if both lie within a microscope's range and differ by at
        most 2 %; else with ``mpp=None`` and the reason. Pixels that are not square
        are not averaged: every length would be wrong in one direction.
    """
    sizes = (height_um, width_um)
    stated = f"{height_um:.4g} x {width_um:.4g} um per pixel (height x width)"
    if not all(math.isfinite(s) and FINEST_UM <= s <= COARSEST_UM for s in sizes):
        note = f"stated {stated} is outside {FINEST_UM} to {COARSEST_UM} um: not used"
        return Resolution(mpp=None, note=note)
    if abs(height_um - width_um) > SQUARE_TOLERANCE * max(sizes):
        return Resolution(mpp=None, note=f"stated {stated} is not square: not used")
    mean = height_um if height_um == width_um else (height_um + width_um) / 2
    return Resolution(mpp=mean, note="")


def number(text: object) -> float:
    """Return a number written in a header, or NaN if it isn't one."""
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        return math.nan
