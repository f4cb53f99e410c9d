"""The training loop: step after step until the recipe's last, resumable anywhere.

::

    draw ─► forward ─► loss ─► backward ─► clip ─► step ─► average ─► log, save
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from segpipe.errors import SettingsError
from segpipe.networks import Described
from segpipe.networks import network as find_network
from segpipe.training.checkpoints import (
    CHECKPOINT,
    load_checkpoint,
    save_checkpoint,
)
from segpipe.training.dev import dev_images, dev_scores
from segpipe.training.feeding import default_workers, feed
from segpipe.training.logs import LOG, logging_to
from segpipe.training.patches import draw_nth
from segpipe.training.recipe import Recipe
from segpipe.training.run import Run, start
from segpipe.training.selecting import check_held_out, select_samples
from segpipe.training.self_training import pseudo_samples
from segpipe.training.steps import StepDone, take_steps
from segpipe.training.stock import Progress, load_stock

Watch = Callable[[StepDone], None]


def train(  # noqa: PLR0913 - each is an option
    recipe: Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    draw_workers: int | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Path:
    """Train a recipe's network, or go on where an earlier call was interrupted.

    Writes ``checkpoint.pt`` and ``log.csv`` (a row per step) under ``out``, scores on
    dev images to ``dev.csv``, and TensorBoard's files if tensorboardX is installed.

    Parameters
    ----------
    recipe
        What to train, on what, how long.
    out
        Folder of the run; made if missing.
    device
        Where to compute.
    draw_workers
        Threads that draw patches, which change nothing but time; None: one on a CPU,
        up to 16 for a GPU.
    progress
        Called with what is done, how many are done, and of how many.
    watch
        Called after each step with its loss.

    Returns
    -------
    Path
        The last checkpoint.

    Raises
    ------
    DatasetError
        If the images won't do; before the first step.
    SettingsError
        If the recipe doesn't fit the network.
    OutputNotOurs
        If ``out`` holds a run by another recipe.
    WeightsError
        If weights to start from, or the checkpoint in ``out``, won't do.
    TrainingStopped
        If the loss or its gradient is no number any more.
    """
    chosen = find_network(recipe.network)
    check_patch(recipe, chosen)
    check_held_out(recipe)
    names = {one.name for one in recipe.sets}
    samples = select_samples(recipe.manifest, "train", recipe, only=names)
    images = dev_images(recipe)
    run = start(recipe, chosen, torch.device(device))
    done = _resumed(run, recipe, out / CHECKPOINT)
    out.mkdir(parents=True, exist_ok=True)
    samples += pseudo_samples(recipe, out, device=device, progress=progress)
    stock = load_stock(recipe, samples, mpp=chosen.mpp, progress=progress)
    batches = feed(
        partial(draw_nth, stock, recipe, chosen),
        range(done + 1, recipe.steps + 1),
        recipe.batch,
        n_workers=draw_workers or default_workers(run.device),
        pin=run.device.type == "cuda",
    )
    with logging_to(out, done) as log, closing(batches):
        for taken in take_steps(run, recipe, chosen, batches):
            step, dev = taken.step, {}
            log("train", step, taken.row)
            if images and step % recipe.evaluate_every == 0:
                dev = dev_scores(run, recipe, chosen, images)
                log("dev", step, dev)
            if step % recipe.save_every == 0 or step == recipe.steps:
                save_checkpoint(out / CHECKPOINT, run.state(step, recipe))
            if progress is not None:
                progress("training", step, recipe.steps)
            if watch is not None:
                watch(replace(taken, dev=dev))
    return out / CHECKPOINT


def _resumed(run: Run, recipe: Recipe, checkpoint: Path) -> int:
    """Take the checkpoint's state, if there is one, and return its step."""
    if not checkpoint.exists():
        return 0
    return run.restore(load_checkpoint(checkpoint), recipe, checkpoint)


def check_patch(recipe: Recipe, chosen: Described) -> None:
    """Refuse a patch that the network can't be fed.

    Raises
    ------
    SettingsError
        With the sides it takes.
    """
    side = chosen.window.input_px
    if (recipe.patch_px - side) % chosen.step_px:
        message = (
            f"The recipe {recipe.name} has patches of {recipe.patch_px} px; "
            f"{chosen.name} takes {side} px and multiples of {chosen.step_px} px more "
            "or less."
        )
        raise SettingsError(message)


__all__ = ["CHECKPOINT", "LOG", "StepDone", "Watch", "check_patch", "train"]
