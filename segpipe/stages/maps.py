"""Answers that are maps: arrays of the slide's size, a chunk per window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import Maps
from segpipe.decoding.cuts import blanked
from segpipe.decoding.scored import Scored
from segpipe.geometry import Box
from segpipe.networks import (
    PROB_HEAD,
    TYPE_HEAD,
    LoadedNetwork,
    MapsDecoding,
    giving_maps,
    network,
    predict_windows,
)
from segpipe.stages._answers import Answers, Labelled
from segpipe.stages.plan import Plan
from segpipe.stages.stored import map_path, read_windows, store_of
from segpipe.stores.slide_store import ArraySpec


def prepare(plan: Plan) -> None:
    """Make an array per head of the network, empty."""
    store = store_of(plan)
    for head in plan.network.heads:
        leading = (head.n_channels,) if head.n_channels > 1 else ()
        store.create(
            ArraySpec(
                path=map_path(head.name),
                shape=(*leading, *plan.canvas.shape),
                unit_px=plan.windows.tile_px,
                dtype=head.dtype,
            )
        )


def write(
    plan: Plan,
    units: tuple[int, ...],
    loaded: LoadedNetwork,
    planes: NDArray[np.uint8],
) -> None:
    """Predict the maps of some windows; write their cores."""
    store, predicted = store_of(plan), predict_windows(loaded, planes)
    for at, index in enumerate(units):
        core = plan.windows.core(index)
        for head, pixels in predicted.items():
            kept = pixels[at, ..., : core.height, : core.width]
            store.write(map_path(head), core, kept)


def decode(plan: Plan, box: Box) -> Scored:
    """Decode a box of the maps with the plan's constants."""
    chosen = giving_maps(network(plan.network.name))
    decoding: MapsDecoding = chosen.decoding(**plan.network.decoding)
    maps = _read(plan, box, {head.name for head in plan.network.heads} - {TYPE_HEAD})
    prob = blanked(maps[PROB_HEAD], box, plan.canvas.box, decoding.blind_px)
    labels = chosen.decode(maps | {PROB_HEAD: prob}, decoding)
    untyped = np.zeros(int(labels.max(initial=0)), np.uint8)
    return Scored(labels=labels, prob=maps[PROB_HEAD], types=untyped)


def maps(plan: Plan, labelled: Labelled) -> Maps:
    """Read the maps of a box."""
    return _read(plan, labelled.box, {PROB_HEAD, TYPE_HEAD})


def _read(plan: Plan, box: Box, wanted: set[str]) -> dict[str, NDArray[Any]]:
    return {
        head.name: read_windows(plan, map_path(head.name), box)
        for head in plan.network.heads
        if head.name in wanted
    }


ANSWERS = Answers(prepare=prepare, write=write, decode=decode, maps=maps)
