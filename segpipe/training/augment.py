"""How far the chance reaches that training adds to patches: the settings of each kind.

Geometry (``warp``) comes first and moves image and annotation by one map, then nuclei
of other images are pasted (``copy_paste``), then the picture alone is changed
(``appearance``). Targets are made last, so they never need turning themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MIN_KNOTS = 2


def _refuse_negative(one: DataclassInstance) -> None:
    values = {f.name: getattr(one, f.name) for f in fields(one)}
    for name, value in values.items():
        if isinstance(value, int | float) and not value >= 0:
            message = f"{name} is {value}; zero is the least"
            raise ValueError(message)


def _refuse_above(one: DataclassInstance, name: str, most: float) -> None:
    if getattr(one, name) > most:
        message = f"{name} is {getattr(one, name)}; {most} is the most"
        raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPaste:
    """How nuclei of other images are pasted. A chance of zero turns it off."""

    chance: float = 0.0
    """Probability that anything is pasted into a patch."""
    most: int = 10
    """Nuclei to try, at most; a draw between one and this."""
    scale: float = 0.5
    """Zoom of a pasted nucleus by up to exp(+-scale)."""
    feather_px: float = 0.8
    """Sigma of the blur that blends its border."""
    overlap: float = 0.3
    """A place is passed over where more than this share of a nucleus, or of the pasted
    one, would lie on another."""
    density: float = 0.4
    """No more is pasted once nuclei cover this share of the patch."""
    min_px: int = 12
    """Smaller remnants of a covered nucleus are dropped and count for nothing."""

    def __post_init__(self) -> None:
        _refuse_negative(self)
        for name in ("chance", "overlap", "density"):
            _refuse_above(self, name, 1)
        if self.most < 1:
            message = (
                f"most is {self.most}; 1 is the least, and a chance of 0 pastes none"
            )
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far each kind of chance reaches. Zero turns a kind off."""

    scale: float = 0.3
    """Zoom by up to exp(+-scale)."""
    turn_deg: float = 20.0
    """Turn by up to this much, besides the eight flips and quarter turns."""
    elastic_px: float = 1.5
    """Standard deviation of a smooth displacement."""
    elastic_knots: int = 5
    """Displacements are drawn on a grid of this many knots a side, with cubic
    interpolation between; U-Net has 3, with 10 px."""
    stain: float = 0.8
    """Strength of each stain, by up to exp(+-stain)."""
    tint: float = 0.06
    """Standard deviation of a shift of each channel's optical density."""
    contrast: float = 0.5
    """Contrast, by up to exp(+-contrast)."""
    brightness: float = 0.08
    """Shift of all channels, by up to this share of the range."""
    blur_px: float = 1.2
    """Largest sigma of a Gaussian blur."""
    sharpening: float = 2.0
    """Largest share of the detail below about a pixel that is added again, as scanners
    do."""
    noise: float = 8.0
    """Largest standard deviation of noise, in grey levels."""
    jpeg_quality: int = 40
    """Worst JPEG quality; 100 turns compression off."""
    chance: float = 0.25
    """Probability of each of blur, sharpening, noise and compression."""
    copy_paste: CopyPaste = CopyPaste()
    """Nuclei of other images."""

    def __post_init__(self) -> None:
        _refuse_negative(self)
        _refuse_above(self, "chance", 1)
        _refuse_above(self, "jpeg_quality", 100)
        if self.elastic_knots < MIN_KNOTS:
            message = f"elastic_knots is {self.elastic_knots}; {MIN_KNOTS} is the least"
            raise ValueError(message)


OFF = Augmentation(
    scale=0,
    turn_deg=0,
    elastic_px=0,
    stain=0,
    tint=0,
    contrast=0,
    brightness=0,
    blur_px=0,
    sharpening=0,
    noise=0,
    jpeg_quality=100,
    chance=0,
)
"""Leaves flips and quarter turns, nothing else."""
