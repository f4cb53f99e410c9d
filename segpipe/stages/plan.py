"""The plan: everything decided about a slide before anything runs, as one value."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from segpipe.config import Frozen, Settings, SlideRef
from segpipe.geometry import Box
from segpipe.tiling.grid import TileGrid

MIN_PROB = "min_prob"
"""The decoder's constant that is asked of whole nuclei, when they are stitched."""


class Canvas(Frozen):
    """The slide at the network's resolution: the frame all later arrays live in."""

    shape: tuple[int, int]
    """Height and width in canvas pixels."""
    mpp: float
    """Micrometres per canvas pixel."""
    downsample: float
    """Level-0 pixels per canvas pixel."""
    level: int
    """The level pixels are read from."""
    scale: tuple[int, int]
    """Level pixels per canvas pixel as numerator and denominator."""

    @property
    def box(self) -> Box:
        """All of it."""
        return Box.of_shape(self.shape)

    def px(self, length_um: float) -> int:
        """Return a length in canvas pixels, rounded."""
        return round(length_um / self.mpp)

    @property
    def ratio(self) -> Fraction:
        """Level pixels per canvas pixel, exactly."""
        return Fraction(*self.scale)


class HeadRef(Frozen):
    """One map the network writes."""

    name: str
    """Name of the map."""
    n_channels: int
    """Channels; a map of one channel is stored as (Y, X)."""
    dtype: str
    """Element type of the stored map."""


class NetworkRef(Frozen):
    """Which network runs, with which weights."""

    name: str
    """Network."""
    weights: Path
    """The safetensors file."""
    sha256: str
    """Of that file."""
    types: tuple[str, ...]
    """Names of the nucleus types, without background; empty if untyped."""
    heads: tuple[HeadRef, ...]
    """What it writes; nothing if it detects."""
    detects: bool = False
    """Whether it gives scored masks instead of maps."""
    input_px: int
    """Side of a window as fed."""
    output_px: int
    """Side of a window as kept."""
    decoding: dict[str, Any]
    """Constants of the decoder."""
    support_px: int
    """Support of the decoder with these constants."""
    claims_px: int = 0
    """How far from a tile detections decide what is in it; 0 if it gives maps."""

    @property
    def margin_px(self) -> int:
        """Context around the core of a window, on each side."""
        return (self.input_px - self.output_px) // 2

    @property
    def beyond_px(self) -> int:
        """How far nuclei reach out of the windows that the network runs on.

        Detected ones end inside an input. Maps are 0 there, but decoders smooth.
        """
        return self.margin_px if self.detects else 16


class Price(Frozen):
    """What a plan costs, known before it runs."""

    worker_bytes: int
    """Peak memory of one worker."""
    driver_bytes: int
    """Peak memory of the driver."""
    disk_bytes: int
    """Disk while the slide is worked on."""
    kept_bytes: int
    """Disk that stays taken afterwards."""


class Grounds(Frozen):
    """What a plan rests on; see `segpipe.stages.grounds`."""

    path: Path
    """The slide, absolute."""
    signature: str
    """Sizes and times of the slide's files and the mask's, hashed."""
    content: str
    """Hash of the slide's content and the mask's; empty if unknown."""
    choices: str
    """Hash of all else: settings, weights, versions."""


class Plan(Frozen):
    """What will be done to a slide."""

    slide: SlideRef
    """The slide."""
    reader: str
    """The reader that opens it."""
    fingerprint: str
    """Hash of the slide's content."""
    grounds: Grounds
    """What the plan rests on, as it was before the slide was opened."""
    slide_mpp: float
    """Micrometres per level-0 pixel."""
    slide_shape: tuple[int, int]
    """Height and width at level 0."""
    n_levels: int
    """Levels of the slide."""
    out: Path
    """Result folder, absolute."""
    settings: Settings
    """What the user chose."""
    device: str
    """``cpu`` or ``cuda``: what ``auto`` came to."""
    network: NetworkRef
    """The network."""
    canvas: Canvas
    """The frame."""
    tissue_given: Path | None
    """The mask picture the user brought, absolute."""
    tissue_mm2: float
    """Area of the tissue mask."""
    windows: TileGrid
    """Lattice of inference windows; also the chunks of image and maps."""
    tissue_windows: tuple[int, ...]
    """Windows with tissue: the network runs on these."""
    image_windows: tuple[int, ...]
    """Windows whose pixels the network sees: those with tissue and those around."""
    tiles: TileGrid
    """Grid of tiles; also the chunks of the label map."""
    tissue_tiles: tuple[int, ...]
    """Tiles that touch a window with tissue."""
    halo_px: int
    """Margin a tile is decoded with."""
    measure_margin_px: int
    """Margin a tile is measured with: the largest nucleus it may own."""
    price: Price
    """What it costs."""
    keys: dict[str, str]
    """Key of each stage: a hash of everything its results depend on."""
    result_key: str
    """Key of the table, which the tiling does not enter."""

    @property
    def min_prob(self) -> float:
        """Least mean probability of a nucleus: that asked for, or the weights'.

        A detector has none but its own bound on scores.
        """
        asked = self.settings.min_prob
        calibrated = float(self.network.decoding.get(MIN_PROB, 0.0))
        return calibrated if asked is None else asked
