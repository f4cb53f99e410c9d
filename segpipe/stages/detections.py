"""Answers that are scored masks: a file of claims per window (ADR 0006)."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import Maps
from segpipe.decoding.scored import Scored, painted
from segpipe.errors import StoreDamaged
from segpipe.geometry import Box
from segpipe.labels.detection_bytes import from_bytes, to_bytes
from segpipe.labels.records import AREA, PROB, TYPE
from segpipe.networks import (
    LoadedNetwork,
    detect_windows,
    giving_masks,
    maps_of,
    network,
    on_canvas,
    ownership_of,
    scored_nuclei,
)
from segpipe.stages._answers import Answers, Labelled
from segpipe.stages.plan import Plan
from segpipe.stages.stored import DETECTIONS
from segpipe.stitching.ownership import Claims, Ownership, claims_of, n_too_large
from segpipe.stores.durable import remove
from segpipe.stores.layout import Layout
from segpipe.stores.sealed import read_sealed, write_sealed

_COUNT_BYTES = 8
"""At the start of a file: how many detections were too large to be claimed."""


def prepare(plan: Plan) -> None:
    """Remove what a detector with other constants said."""
    remove(_folder(plan))


def write(
    plan: Plan,
    units: tuple[int, ...],
    loaded: LoadedNetwork,
    planes: NDArray[np.uint8],
) -> None:
    """Detect the nuclei of some windows; write what each vouches for, durably."""
    decoding = loaded.network.decoding(**plan.network.decoding)
    ownership, window = _ownership(plan), loaded.network.window
    for index, said in zip(
        units, detect_windows(loaded, planes, decoding), strict=True
    ):
        seen = on_canvas(said, window.input_box(plan.windows.core(index)))
        claims = claims_of(seen, index, ownership)
        dropped = n_too_large(seen, index, ownership)
        content = dropped.to_bytes(_COUNT_BYTES, "little") + to_bytes(claims.detections)
        write_sealed(_path(plan, index), content)


def decode(plan: Plan, box: Box) -> Scored:
    """Decide which of the claims around a box are its nuclei, and paint them."""
    ownership = _ownership(plan)
    parts = [_read(plan, index)[0] for index in ownership.windows_of(box)]
    return scored_nuclei(box, parts, ownership)


def maps(plan: Plan, labelled: Labelled) -> Maps:
    """Paint nuclei with their scores."""
    prob_sum, area_px, types = labelled.records[:, [PROB, AREA, TYPE]].T
    scores = prob_sum // area_px
    prob, kinds = (
        painted(labelled.labels, labelled.ids, values.astype(np.uint8))
        for values in (scores, types)
    )
    return maps_of(prob, kinds, len(plan.network.types))


def count_too_large(plan: Plan) -> int:
    """Count what was dropped for being larger than a window surely sees whole."""
    return sum(_read(plan, index)[1] for index in plan.tissue_windows)


def _ownership(plan: Plan) -> Ownership:
    chosen = giving_masks(network(plan.network.name))
    run = np.zeros(len(plan.windows), np.bool_)
    run[list(plan.tissue_windows)] = True
    decoding = chosen.decoding(**plan.network.decoding)
    return ownership_of(plan.windows, chosen.window, decoding, run)


def _read(plan: Plan, index: int) -> tuple[Claims, int]:
    """Return what a window vouches for, and how much was too large.

    Raises
    ------
    StoreDamaged
        If the file is missing or isn't what was written.
    """
    path = _path(plan, index)
    try:
        stored = read_sealed(path)
        claims = Claims.of(from_bytes(stored[_COUNT_BYTES:]), index)
    except (OSError, ValueError, StoreDamaged) as error:
        message = (
            f"Detections of window {index} at {path} can't be read: {error}. Run "
            "again: the window is looked at anew."
        )
        core = astuple(plan.windows.core(index))
        raise StoreDamaged(message, array=DETECTIONS, box=core) from error
    return claims, int.from_bytes(stored[:_COUNT_BYTES], "little")


def _path(plan: Plan, index: int) -> Path:
    return _folder(plan) / f"{index:08d}.bin"


def _folder(plan: Plan) -> Path:
    return Layout(plan.out).detections(plan.slide.id)


ANSWERS = Answers(prepare=prepare, write=write, decode=decode, maps=maps)
