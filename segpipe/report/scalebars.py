"""Scale bars on pictures."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

_MARGIN_PX = 16
_THICK_PX = 5
_TEXT_PX = 18
_SHARE = 0.28


def draw_scale_bar(picture: Image.Image, um_per_px: float) -> None:
    """Draw a bar of a round length at the lower left, with its length above it."""
    length_um = round_length(picture.width * um_per_px * _SHARE)
    length_px = length_um / um_per_px
    left, bottom = _MARGIN_PX, picture.height - _MARGIN_PX
    draw = ImageDraw.Draw(picture)
    bar = (left, bottom - _THICK_PX, left + length_px, bottom)
    draw.rectangle(bar, fill="white", outline="black")
    draw.text(
        (left, bottom - _THICK_PX - 4),
        length_text(length_um),
        font=ImageFont.load_default(_TEXT_PX),
        fill="white",
        stroke_width=2,
        stroke_fill="black",
        anchor="lb",
    )


def round_length(longest_um: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20 … (and their tenths) not above a length."""
    power = 10.0 ** math.floor(math.log10(longest_um))
    steps = (0.5, 1, 2, 5)  # 0.5: the logarithm may round up at a power of ten
    return max(step * power for step in steps if step * power <= longest_um)


def length_text(length_um: float) -> str:
    """Write a length in the unit that suits it, in letters that every font has."""
    if length_um >= 1000:
        return f"{length_um / 1000:g} mm"
    return f"{length_um:g} um"
