"""Stage 2: the network over every window with tissue; what it says is written.

Windows lie on one lattice and go through the network in batches of one shape, so what
it says doesn't depend on tiles, batches or workers (ADR 0002).
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
from segpipe.networks import LoadedNetwork, cached_network
from segpipe.stages._stage import Stage
from segpipe.stages.answers import answers_of
from segpipe.stages.plan import Plan
from segpipe.stages.stored import IMAGE, read_windows


def prepare(plan: Plan) -> None:
    """Make room for what the network says."""
    answers_of(plan).prepare(plan)


def work(plan: Plan, units: tuple[int, ...]) -> int:
    """Predict some windows; return how many pixels they cover."""
    ref = plan.network
    loaded = cached_network(str(ref.weights), ref.sha256, plan.device)
    window = loaded.network.window
    boxes = [window.input_box(plan.windows.core(index)) for index in units]
    planes = np.stack([_fed(plan, box) for box in boxes])
    with one_thread(), _naming_window(plan, loaded, units, planes):
        answers_of(plan).write(plan, units, loaded, planes)
    return sum(plan.windows.core(index).area for index in units)


def _fed(plan: Plan, box: Box) -> NDArray[np.uint8]:
    inside = box.intersection(plan.canvas.box)
    return mirrored(read_windows(plan, IMAGE, inside), inside, box)


@contextmanager
def _naming_window(
    plan: Plan, loaded: LoadedNetwork, units: tuple[int, ...], planes: NDArray[np.uint8]
) -> Iterator[None]:
    """Have invalid answers name the window that they are to.

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
                answers_of(plan).write(plan, (index,), loaded, window[None])
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
