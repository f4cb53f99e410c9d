"""Where the tissue is on a low-resolution picture of a slide, by colour alone.

Glass, dust, black borders and black ink are grey: what they lack is colour.
Haematoxylin and eosin both absorb green most; blue and green ink absorb red most, red
ink absorbs green and blue alike and no red. So a pixel is tissue if it has colour and
isn't part of a stroke of the colour of ink. The mask decides where the network looks,
so it errs towards tissue: a false speck costs seconds, a missed one costs nuclei.

The constants are in grey values (0 to 255), optical density (log10) and square
micrometres. They were set by hand on two scanned slides and on 877 annotated tiles of
five sets, shown at 2 um per pixel: of their 62 597 nuclei, 7 lie more than 24 um from
the mask. That is no held-out figure, because the constants were chosen on those tiles.
Those of ink were set on painted colours only; no slide with real pen marks was at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segpipe.arrays import RGB, Mask
from segpipe.errors import ShapeMismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueRules:
    """Constants of the tissue mask; the defaults are meant to be left alone."""

    least_colour: float = 9.0
    """Below this difference of largest and smallest channel, glass: on the two slides
    99.9 % of glass has less than 8.2, once levelled."""
    most_colour: float = 18.0
    """Above it, always tissue. Otsu's threshold is taken in between, so a slide that is
    all tissue, or has none, can't lead it astray."""
    glass_brightness: float = 200.0
    """Pixels whose channels all exceed this, with little colour, show the tint of the
    glass."""
    glass_colour: float = 16.0
    """Most tint that glass may have."""
    glass_pink: float = 5.0
    """Most that green may fall short of the mean of red and blue in it: tint is mostly
    yellow or cyan, while pale eosin lacks green."""
    black_below: float = 60.0
    """Brightest channel of black borders and ink, if they have little colour as well:
    the darkest purple of dense tissue is as dark, but has more colour."""
    cold_ink_ratio: float = 1.15
    """Least red over green optical density of blue and green ink. Pure haematoxylin has
    0.9 (Ruifrok and Johnston, 2001), the tiles 0.6 in the median; bluish ones exceed
    this, but only where they are pale."""
    red_ink_blue: float = 0.8
    """Least blue over green optical density of red ink; the tiles have 0.7."""
    red_ink_red: float = 0.25
    """Most red over green optical density of red ink; melanin has more."""
    ink_density: float = 0.5
    """Optical density that more than half of a stroke exceeds. The largest such piece
    on any tile (92 to 340 um wide) has 850 um2."""
    least_ink_um2: float = 20_000.0
    """Smallest stroke of a pen; specks of such colour are pigment or bluish nuclei."""
    ink_rim_um: float = 16.0
    """The edge of a stroke is blurred into the colour of what lies beside."""
    speck_share: float = 1e-5
    """Smallest pale piece of tissue, as a share of the picture, within the two limits
    below: a thread on a small clean slide counts, on a full section it is dirt."""
    least_speck_um2: float = 25.0
    """A square of 5 um."""
    most_speck_um2: float = 1_000.0
    """A square of 32 um, four cells wide."""
    nucleus_colour: float = 24.0
    """Colour with which even the smallest piece counts: nuclei in fat lie far apart,
    and nothing of the cells between them shows. The centres of 95 % of the nuclei have
    more than 21 to 38, by set."""
    nucleus_um2: float = 6.0
    """Smallest such piece: the end of a flat nucleus, two pixels of 2 um."""
    hole_um2: float = 5_000.0
    """Holes up to a square of 70 um are filled: capillaries, fat, torn threads."""


RULES = TissueRules()
NEIGHBOURS = np.ones((3, 3), np.bool_)


def tissue_mask(rgb: RGB, *, mpp: float, rules: TissueRules = RULES) -> Mask:
    """Find the tissue.

    Parameters
    ----------
    rgb
        (Y, X, 3) uint8, the whole slide at low resolution, white where it has no
        pixels.
    mpp
        Micrometres per pixel of ``rgb``; 2 to 16 is meant. Coarser than 4, a lone
        nucleus is no longer seen.
    rules
        Constants.

    Returns
    -------
    (Y, X) bool
        Not grown: whoever reads around the mask adds the margin needed.

    Raises
    ------
    ShapeMismatch
        If the picture is not (Y, X, 3).
    ValueError
        If ``mpp`` is not positive.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        message = f"A tissue mask is made of (Y, X, 3); this array is {rgb.shape}."
        raise ShapeMismatch(message)
    if not mpp > 0:
        message = f"mpp is micrometres per pixel, above 0; {mpp} was given."
        raise ValueError(message)
    if rgb.size == 0:
        return np.zeros(rgb.shape[:2], np.bool_)
    levelled = _levelled(rgb, rules)
    colour = np.ptp(levelled, axis=2)
    excluded = _black(rgb, rules) | _strokes(levelled, mpp, rules)
    coloured = (colour > _threshold(colour[~excluded], rules)) & ~excluded
    strong = coloured & (colour > rules.nucleus_colour)
    pieces = _without_specks(coloured, strong, mpp, rules)
    return (pieces | _small_holes(pieces, mpp, rules)) & ~excluded


def _levelled(rgb: RGB, rules: TissueRules) -> NDArray[np.float32]:
    """Divide by the tint of the glass, as far as some glass is seen."""
    pixels = rgb.reshape(-1, 3)
    pixels = pixels[(pixels.min(axis=1) > rules.glass_brightness)]
    pixels = pixels[pixels.min(axis=1) < 255]  # padding, not glass
    pink = np.abs(pixels @ np.array([0.5, -1, 0.5], np.float32))
    is_glass = (np.ptp(pixels, axis=1) <= rules.glass_colour) & (
        pink <= rules.glass_pink
    )
    white = np.median(pixels[is_glass], axis=0) if is_glass.any() else np.ones(3)
    gains = (white.max() / white).astype(np.float32)
    levelled: NDArray[np.float32] = np.minimum(rgb * gains, np.float32(255))
    return levelled


def _black(rgb: RGB, rules: TissueRules) -> Mask:
    is_dark: Mask = rgb.max(axis=2) < rules.black_below
    is_grey: Mask = np.ptp(rgb, axis=2) <= rules.most_colour
    return is_dark & is_grey


def _strokes(levelled: NDArray[np.float32], mpp: float, rules: TissueRules) -> Mask:
    """Find strokes of blue, green or red ink, with their blurred rim."""
    density = -np.log10(np.maximum(levelled, 1) / 255)
    red, green, blue = (density[..., channel] for channel in range(3))
    is_cold = red > rules.cold_ink_ratio * green
    is_red = (blue > rules.red_ink_blue * green) & (red < rules.red_ink_red * green)
    is_coloured = np.ptp(levelled, axis=2) > rules.least_colour
    pieces = _labelled((is_cold | is_red) & is_coloured)
    is_dense = density.max(axis=2) > rules.ink_density
    n_dense = np.bincount(pieces.ravel(), weights=is_dense.ravel())
    is_stroke = (n_dense >= rules.least_ink_um2 / mpp**2) & (
        2 * n_dense > np.bincount(pieces.ravel())
    )
    is_stroke[0] = False
    rim_px = max(1, round(rules.ink_rim_um / mpp))
    strokes: Mask = ndimage.binary_dilation(
        is_stroke[pieces], NEIGHBOURS, iterations=rim_px
    )
    return strokes


def _threshold(colour: NDArray[np.float32], rules: TissueRules) -> float:
    """Return Otsu's threshold of the colour, kept within the two limits."""
    counts = np.bincount(colour.astype(np.int64), minlength=256)
    return float(np.clip(_otsu(counts), rules.least_colour, rules.most_colour))


def _otsu(counts: NDArray[np.int64]) -> int:
    """Return the value that parts a histogram best in two (Otsu, 1979)."""
    values = np.arange(counts.size)
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * values)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = sums / below - (sums[-1] - sums) / above
    return int(np.argmax(np.nan_to_num(below * above * distance**2)))


def _without_specks(
    coloured: Mask, strong: Mask, mpp: float, rules: TissueRules
) -> Mask:
    """Keep what is large enough, or stained enough to be a nucleus."""
    share_um2 = rules.speck_share * coloured.size * mpp**2
    speck_um2 = np.clip(share_um2, rules.least_speck_um2, rules.most_speck_um2)
    nuclei = _pieces_from(strong, rules.nucleus_um2 / mpp**2)
    pieces = _labelled(coloured)
    is_kept = np.bincount(pieces.ravel()) >= speck_um2 / mpp**2
    is_kept[np.unique(pieces[nuclei])] = True
    is_kept[0] = False
    kept: Mask = is_kept[pieces]
    return kept


def _small_holes(mask: Mask, mpp: float, rules: TissueRules) -> Mask:
    """Return the holes to fill: small, and not open to the edge of the picture."""
    holes = _labelled(~mask)
    is_small = np.bincount(holes.ravel()) <= rules.hole_um2 / mpp**2
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        is_small[edge] = False
    is_small[0] = False
    filled: Mask = is_small[holes]
    return filled


def _pieces_from(mask: Mask, least_px: float) -> Mask:
    """Keep the pieces of at least so many pixels."""
    pieces = _labelled(mask)
    is_kept = np.bincount(pieces.ravel()) >= least_px
    is_kept[0] = False
    kept: Mask = is_kept[pieces]
    return kept


def _labelled(mask: Mask) -> NDArray[np.int32]:
    """Give each piece its number; pixels touch at sides or corners."""
    pieces: NDArray[np.int32]
    pieces, _ = ndimage.label(mask, NEIGHBOURS)
    return pieces
