"""What stages need to know of the way in which a network says what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import Maps
from segpipe.decoding.scored import Scored
from segpipe.geometry import Box
from segpipe.labels.records import InstanceRecords
from segpipe.networks import LoadedNetwork
from segpipe.stages.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A box of the slide's label map, and the nuclei in it that are asked for."""

    box: Box
    labels: NDArray[np.uint32]
    """(Y, X) uint32, nucleus ids."""
    ids: NDArray[np.uint32]
    """(N,) uint32, ascending."""
    records: InstanceRecords
    """Their records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How a network's answers are written, decoded, and told of in the table."""

    prepare: Callable[[Plan], None]
    """Makes room for the answers to all windows. Idempotent."""
    write: Callable[[Plan, tuple[int, ...], LoadedNetwork, NDArray[np.uint8]], None]
    """``write(plan, windows, loaded, planes)``: asks the network about some windows,
    fed (B, 3, input_px, input_px) uint8, and writes what it says."""
    decode: Callable[[Plan, Box], Scored]
    """The label map of a box, as that of the whole slide is there."""
    maps: Callable[[Plan, Labelled], Maps]
    """What the table is told of the probability and the types of nuclei."""
