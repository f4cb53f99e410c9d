"""What a network is to segpipe: how to build, feed, read and train it, as one value.

One file = one paper; it ends in ``NETWORK = Network(...)`` or ``Detector(...)`` and the
module name is the registry; ``VARIANTS`` and ``variant(name)`` add builds of the same
paper. The forward pass returns a tuple of raw tensors in every mode; activation, loss
and decoding live outside.

A `Network` says of every pixel what it is: maps. A `Detector` says where nuclei are:
scored masks. What is done with either in the same way takes an `AnyNetwork`; where they
part is in one place per concern: ``_answers`` for images in memory,
``segpipe.stages.answers`` for slides, ``loss_terms`` below for training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from segpipe.arrays import LabelMap, Maps
from segpipe.errors import SettingsError
from segpipe.geometry import Box
from segpipe.labels.detections import Detections
from segpipe.networks._layers import centred

Activation = Literal["sigmoid", "softmax", "clip"]
PROB_HEAD = "prob"
"""Name of the head that says where nuclei are."""
TYPE_HEAD = "type"
"""Name of the head that tells nucleus types apart; decoders don't look at it."""
Outputs = tuple[Tensor, ...]
"""What a module returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The square a network is fed and the core of it that it answers for.

    Windows lie on one lattice anchored at the slide's corner, whatever the tiles, so
    the maps of a slide don't depend on the tiling (ADR 0002).
    """

    input_px: int
    """Side of the square fed to the network."""
    output_px: int
    """Side of the core that is kept; centred in the input."""

    @property
    def margin_px(self) -> int:
        """Context around the core on each side."""
        return (self.input_px - self.output_px) // 2

    def input_box(self, core: Box) -> Box:
        """Return the square fed for a window, whole also where its core is cut off.

        What lies beyond the slide is mirrored (Ronneberger et al. 2015, §2): white
        there would be an edge that isn't in the tissue.
        """
        y1, x1 = core.y0 + self.output_px, core.x0 + self.output_px
        return Box(core.y0, core.x0, y1, x1).grown(self.margin_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One output of a network, and how it is stored: activate, scale, round."""

    name: str
    """Name of the map: ``"prob"``, ``"hv"``, ``"type"``, ``"contour"`` …"""
    n_channels: int
    """Channels of the raw output. A map of one channel is stored as (Y, X)."""
    activation: Activation
    """From raw output to [0, 1] (sigmoid, softmax) or [-1, 1] (clip)."""
    dtype: Literal["uint8", "int8"]
    """uint8 holds [0, 1] in units of 1/255, int8 holds [-1, 1] in units of 1/127."""


class Decoding(Protocol):
    """Constants of a decoder, a frozen dataclass of plain numbers."""

    CHOICES: ClassVar[Mapping[str, tuple[float, ...]]]
    """Values that calibrating tries, by the name of the constant."""

    @property
    def support_px(self) -> int:
        """Pixels farther than this (chessboard) from a pixel can't change its label."""


class MapsDecoding(Decoding, Protocol):
    """Constants of a decoder of maps."""

    min_prob: float
    """Instances of a lower mean probability are no nuclei; in [0, 1]. Not for
    ``decode``: it is asked of whole instances, when tiles have been joined."""

    @property
    def blind_px(self) -> int:
        """A tile has nothing so far from its cuts; see `segpipe.decoding.cuts`."""


class DetectorDecoding(Decoding, Protocol):
    """Constants of a detector: of ``detect``, and of who is believed (ADR 0006).

    ``support_px`` is 0: a tile's nuclei hang on claims, whose reach is known.
    """

    @property
    def vouch_px(self) -> int:
        """How far outside its core a window vouches for centres."""

    @property
    def edge_px(self) -> int:
        """A mask that ends this near to the border of the input is taken for cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What all networks have in common."""

    name: str
    """Module name, or ``"module:variant"``; the value of ``--network``."""
    paper: str
    """Citation of the one paper this file implements."""
    mpp: float
    """Micrometres per pixel it is meant for; weights may say otherwise."""
    window: Window
    """Geometry of inference."""
    step_px: int
    """Inputs may be larger or smaller than the window's by multiples of this."""
    activation_bytes_per_px: int = 800
    """Peak of a forward pass on a CPU, in bytes per pixel of the input."""
    build: Callable[[int], nn.Module]
    """Module for ``n_types`` nucleus types (0: untyped). Takes (B, 3, H, W) float RGB
    in [0, 255] and normalises by itself. The same in training and eval."""
    decoding: type[Any]
    """Frozen dataclass of constants, a `Decoding`, for a detector a
    `DetectorDecoding`; its defaults are the network's."""
    targets: Callable[
        [LabelMap, NDArray[np.uint8] | None, int], Mapping[str, NDArray[Any]]
    ]
    """``targets(labels, types, n_types)``: label map (and type map, 1..n_types) of a
    patch to all that its loss reads of it, (C, Y, X) arrays by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Described):
    """A network that gives maps: what goes in, what comes out, how it is trained.

    Its module maps (B, 3, H, W) to the raw heads, a tuple of (B, n_channels, h, w):
    h = H if it is padded, or if it is valid H less a constant, at most the window's
    margins. Its targets are one per head, float32 in the head's range, of which
    ``decode(quantise(targets))`` gives the labels back; besides these maybe others that
    its loss reads, as ``weight`` (1, Y, X) float32: how much each pixel counts.
    """

    heads: Callable[[int], tuple[Head, ...]]
    """Heads for ``n_types`` nucleus types, in the order of the module's outputs."""
    decode: Callable[..., LabelMap]
    """``decode(maps, decoding)``: quantised maps of a box to its label map. Local."""
    loss: Callable[[Outputs, Mapping[str, Tensor]], Mapping[str, Tensor]]
    """Raw heads and a batch of targets to named loss terms; their sum is minimised.
    Targets have the outputs' height and width, cut to it where the network is valid.
    Besides what ``targets`` returns the batch may hold ``valid`` (B, H, W), 1 where a
    patch shows its image, and ``reliable`` (B, H, W), 1 where instances can be
    trusted."""

    def map_names(self, n_types: int) -> tuple[str, ...]:
        """Return the names of the maps that its answer comes to."""
        return tuple(head.name for head in self.heads(n_types))

    def loss_terms(
        self, _module: nn.Module, outputs: Outputs, targets: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the loss terms, with targets cut to what the outputs are of."""
        shape = outputs[0].shape
        cut = {name: centred(target, shape) for name, target in targets.items()}
        return self.loss(outputs, cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector(Described):
    """A network that gives scored masks (ADR 0006), what its loss is, how it is read.

    Its module maps (B, 3, H, W) to a tuple of dense tensors of any shapes, in every
    mode the same. What is computed per box (a second stage) is a method of the module,
    which ``detect`` and ``loss`` call. They get the outputs as float32, outside of any
    autocast: only ``forward`` runs in half precision. ``detect`` gets finite numbers.
    """

    detect: Callable[[nn.Module, Outputs, Any], list[Detections]]
    """``detect(module, outputs, decoding)``: the nuclei of each input of a batch, in
    pixels of the input, best first by the score before it is rounded. Boxes are those
    of the masks' pixels; masks may overlap; doubles have been suppressed. What it says
    of an input doesn't depend on the rest of the batch."""
    loss: Callable[[nn.Module, Outputs, Mapping[str, Tensor]], Mapping[str, Tensor]]
    """Module, its outputs and a batch of targets to named loss terms. Targets are
    ``instances`` (B, 1, H, W) int32, the label map, and, typed, ``type`` (B, 1, H, W)
    uint8; ``valid`` and ``reliable`` as for `Network`. None is cut."""

    def heads(self, _n_types: int) -> tuple[Head, ...]:
        """Return none: it gives no maps."""
        return ()

    def map_names(self, n_types: int) -> tuple[str, ...]:
        """Return the names of the maps that its answer comes to: nuclei, painted."""
        return (PROB_HEAD, TYPE_HEAD) if n_types else (PROB_HEAD,)

    def loss_terms(
        self, module: nn.Module, outputs: Outputs, targets: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Return the loss terms."""
        return self.loss(module, tuple(raw.float() for raw in outputs), targets)


AnyNetwork = Network | Detector
"""What a file of this package ends in."""


def giving_maps(network: AnyNetwork) -> Network:
    """Return a network that gives maps as what it is.

    Raises
    ------
    SettingsError
        If it gives scored masks.
    """
    if isinstance(network, Network):
        return network
    message = f"{network.name} detects nuclei; it gives scored masks, not maps."
    raise SettingsError(message)


def giving_masks(network: AnyNetwork) -> Detector:
    """Return a network that gives scored masks as what it is.

    Raises
    ------
    SettingsError
        If it gives maps.
    """
    if isinstance(network, Detector):
        return network
    message = f"{network.name} gives maps, not scored masks."
    raise SettingsError(message)


__all__ = [
    "PROB_HEAD",
    "TYPE_HEAD",
    "Activation",
    "AnyNetwork",
    "Decoding",
    "Described",
    "Detector",
    "DetectorDecoding",
    "Head",
    "Maps",
    "MapsDecoding",
    "Network",
    "Outputs",
    "Window",
    "giving_maps",
    "giving_masks",
]
