"""Stage 2: the network over every window with tissue, into ``maps/``.

Windows lie on one lattice and go through the network in batches of one shape, so the
maps don't depend on tiles, batches or workers (ADR 0002).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from segpipe.errors import MapsInvalid
from segpipe.geometry import Box
from segpipe.mirroring import mirrored
from segpipe.networks import LoadedNetwork, cached_network, predict_windows
from segpipe.stages._stage import Stage
from segpipe.stages.plan import Plan
from segpipe.stages.stored import IMAGE, map_path, read_windows, store_of
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


def work(plan: Plan, units: tuple[int, ...]) -> int:
    """Predict some windows; return how many pixels they cover."""
    store = store_of(plan)
    ref = plan.network
    loaded = cached_network(str(ref.weights), ref.sha256, plan.device)
    window = loaded.network.window
    boxes = [window.input_box(plan.windows.core(index)) for index in units]
    planes = np.stack([_fed(plan, box) for box in boxes])
    with one_thread(), _naming_window(plan, loaded, units, planes):
        predicted = predict_windows(loaded, planes)
    for at, index in enumerate(units):
        core = plan.windows.core(index)
        for head, pixels in predicted.items():
            kept = pixels[at, ..., : core.height, : core.width]
            store.write(map_path(head), core, kept)
    return sum(plan.windows.core(index).area for index in units)


def _fed(plan: Plan, box: Box) -> NDArray[np.uint8]:
    inside = box.intersection(plan.canvas.box)
    return mirrored(read_windows(plan, IMAGE, inside), inside, box)


@contextmanager
def _naming_window(
    plan: Plan, loaded: LoadedNetwork, units: tuple[int, ...], planes: NDArray[np.uint8]
) -> Iterator[None]:
    """Have invalid maps name the window that they are of.

    Raises
    ------
    MapsInvalid
        With window and place on the slide.
    """
    try:
        yield
    except MapsInvalid:
        for index, window in zip(units, planes, strict=True):
            try:
                predict_windows(loaded, window[None])
            except MapsInvalid as error:
                core = plan.windows.core(index)
                message = f"Window {index} of {plan.slide.id} at {core}: {error}"
                raise MapsInvalid(message) from error
        raise


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread, as in a worker, so that sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


STAGE = Stage(
    name="predict",
    version=1,
    units=lambda plan: plan.tissue_windows,
    batch_units=4,
    prepare=prepare,
    work=work,
    on_device=True,
)
