"""The golden maps, their truth, and what the published decoding makes of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from segpipe.decoding.hv import HVDecoding

GOLDEN = Path(__file__).parents[1] / "golden"
IDS = ("11", "17")
AT_QUARTER_UM = HVDecoding(slope_px=2, marker_open_px=2, min_marker_px=10, reach_px=100)
"""Constants for maps at 0.25 um per pixel."""


def maps(name):
    """Return (prob, hv)."""
    with np.load(GOLDEN / "decoding" / f"consep_train_{name}_maps.npz") as stored:
        return stored["prob"], stored["hv"]


def label_map(name, kind):
    """Return the ``truth`` or the ``hovernet_decoded`` label map."""
    path = GOLDEN / "metrics" / f"consep_train_{name}_{kind}.png"
    return np.asarray(Image.open(path)).astype(np.int32)
