"""The golden maps, their truth, and what the published decoding makes of them."""

from pathlib import Path

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).parents[1] / "golden"
IDS = ("11", "17")


def maps(name):
    """Return (prob, hv)."""
    with np.load(GOLDEN / "decoding" / f"consep_train_{name}_maps.npz") as stored:
        return stored["prob"], stored["hv"]


def label_map(name, kind):
    """Return the ``truth`` or the ``hovernet_decoded`` label map."""
    path = GOLDEN / "metrics" / f"consep_train_{name}_{kind}.png"
    return np.asarray(Image.open(path)).astype(np.int32)
