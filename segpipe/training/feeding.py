"""Feeding the loop: batches in order, drawn ahead by several threads.

A patch depends on seed, step and number only, so the threads change nothing but time.
Most of the work is in OpenCV, numba and numpy's sorting, which let other threads run.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from segpipe.training.patches import Batch, Patch, collate

DrawNth = Callable[[int, int], Patch]
"""From step and number to a patch."""
AHEAD = 2
"""Batches in the making."""


def default_workers(device: torch.device) -> int:
    """Return how many threads draw: one beside a CPU that trains, many for a GPU."""
    return 1 if device.type == "cpu" else max(1, min(16, (os.cpu_count() or 2) - 1))


def feed(
    draw: DrawNth, steps: range, n_patches: int, *, n_workers: int, pin: bool = False
) -> Generator[tuple[int, Batch]]:
    """Yield each step with its batch.

    Parameters
    ----------
    draw
        Draws a patch.
    steps
        The steps to feed.
    n_patches
        Patches of a batch.
    n_workers
        Threads that draw.
    pin
        Whether to put batches where a GPU fetches them without waiting.
    """

    def assembled(patches: list[Future[Patch]]) -> Batch:
        batch = collate([patch.result() for patch in patches])
        return _pinned(batch) if pin else batch

    drawers, assembler = ThreadPoolExecutor(n_workers), ThreadPoolExecutor(1)
    waiting: deque[tuple[int, Future[Batch]]] = deque()
    try:
        for step in steps:
            patches = [drawers.submit(draw, step, n) for n in range(n_patches)]
            waiting.append((step, assembler.submit(assembled, patches)))
            if len(waiting) > AHEAD:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        drawers.shutdown(wait=False, cancel_futures=True)
        assembler.shutdown(wait=False, cancel_futures=True)
        drawers.shutdown()
        assembler.shutdown()


def _next(waiting: deque[tuple[int, Future[Batch]]]) -> tuple[int, Batch]:
    step, batch = waiting.popleft()
    return step, batch.result()


def _pinned(batch: Batch) -> Batch:
    planes, targets = batch
    return planes.pin_memory(), {n: t.pin_memory() for n, t in targets.items()}


def on_device(batch: Batch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a batch where it is needed: float planes, channels last, and targets."""
    planes, targets = batch
    sent = planes.to(device, non_blocking=True).float()
    return sent.contiguous(memory_format=torch.channels_last), {
        name: target.to(device, non_blocking=True) for name, target in targets.items()
    }
