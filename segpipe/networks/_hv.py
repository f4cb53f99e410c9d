"""What networks that say offsets have in common: their heads, decoding and targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe import targets
from segpipe.arrays import LabelMap, Maps
from segpipe.decoding.hv import HVDecoding, decode_hv
from segpipe.networks._network import Head
from segpipe.networks._typed import typed_heads, typed_targets


def heads(n_types: int) -> tuple[Head, ...]:
    """Return prob and hv, and type if there are types."""
    always = (
        Head(name="prob", n_channels=1, activation="sigmoid", dtype="uint8"),
        Head(name="hv", n_channels=2, activation="clip", dtype="int8"),
    )
    return typed_heads(always, n_types)


def decode(maps: Maps, decoding: HVDecoding) -> LabelMap:
    """Return the label map of a box from its quantised ``prob`` and ``hv``."""
    return decode_hv(maps["prob"], maps["hv"], decoding=decoding)


def make_targets(
    labels: LabelMap, types: NDArray[np.uint8] | None, n_types: int
) -> Mapping[str, NDArray[Any]]:
    """Return the target of each head for a patch (Y, X): one array per head name."""
    always = {
        "prob": targets.prob_target(labels)[None],
        "hv": targets.hv_target(labels),
    }
    return typed_targets(always, types, n_types)
