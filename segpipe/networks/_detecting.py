"""From what a detector says of windows to nuclei: one path, in memory and on slides.

::

    planes of a window ─► detections ─► claims  |  claims near a box ─► nuclei, painted
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import Maps, Planes, ProbMap
from segpipe.decoding.masks import paint
from segpipe.decoding.scored import Scored, painted, type_maps
from segpipe.geometry import Box
from segpipe.labels.detections import Detections
from segpipe.networks._inference import detect_windows, windows_of
from segpipe.networks._loading import LoadedNetwork
from segpipe.networks._network import PROB_HEAD, TYPE_HEAD, DetectorDecoding, Window
from segpipe.stitching.contested import nuclei_in
from segpipe.stitching.ownership import Claims, Ownership, claims_of
from segpipe.tiling.grid import TileGrid


def ownership_of(
    lattice: TileGrid,
    window: Window,
    decoding: DetectorDecoding,
    run: NDArray[np.bool_] | None = None,
) -> Ownership:
    """Return who answers for what.

    Parameters
    ----------
    lattice
        Cores of the windows.
    window
        The detector's.
    decoding
        Its constants.
    run : (n_windows,) bool
        Which windows it is run on; None: all.
    """
    return Ownership(
        lattice=lattice,
        margin_px=window.margin_px,
        run=np.ones(len(lattice), np.bool_) if run is None else run,
        vouch_px=decoding.vouch_px,
        edge_px=decoding.edge_px,
    )


def on_canvas(detections: Detections, fed: Box) -> Detections:
    """Bring detections from pixels of a window's input into those of the canvas."""
    corner = np.array([fed.y0, fed.x0, fed.y0, fed.x0])
    return Detections(
        boxes=detections.boxes + corner,
        scores=detections.scores,
        types=detections.types,
        bits=detections.bits,
    )


def scored_nuclei(box: Box, parts: list[Claims], ownership: Ownership) -> Scored:
    """Return the nuclei of a box.

    Parameters
    ----------
    box
        In canvas pixels.
    parts
        Claims of the windows in ``ownership.windows_of(box)``, or of more.
    ownership
        Who answers for what.
    """
    nuclei = nuclei_in(box, parts, ownership)
    shown = paint(nuclei, box)
    ids = np.arange(1, len(shown.masks) + 1)
    return Scored(
        labels=shown.labels,
        prob=painted(shown.labels, ids, nuclei.scores[shown.masks]),
        types=nuclei.types[shown.masks],
    )


def maps_of(prob: ProbMap, kinds: NDArray[np.uint8], n_types: int) -> Maps:
    """Return the maps that painted scores and types come to; see `type_maps`."""
    if not n_types:
        return {PROB_HEAD: prob}
    return {PROB_HEAD: prob, TYPE_HEAD: type_maps(prob, kinds, n_types)}


def detect_planes(
    loaded: LoadedNetwork,
    planes: Planes,
    decoding: Any,  # noqa: ANN401 - each network's own dataclass
) -> Scored:
    """Detect the nuclei of a whole image, as those of a slide that is all tissue.

    Parameters
    ----------
    loaded
        The detector.
    planes : (3, Y, X) uint8
        At the network's mpp.
    decoding
        Its constants.
    """
    window = loaded.network.window
    whole = Box.of_shape((planes.shape[1], planes.shape[2]))
    lattice = TileGrid(shape=whole.shape, tile_px=window.output_px)
    ownership = ownership_of(lattice, window, decoding)
    parts = []
    for index, core, fed in windows_of(planes, window):
        said = detect_windows(loaded, fed[None], decoding)[0]
        seen = on_canvas(said, window.input_box(core))
        parts.append(claims_of(seen, index, ownership))
    return scored_nuclei(whole, parts, ownership)
