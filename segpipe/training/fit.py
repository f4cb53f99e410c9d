"""The training loop: step after step until the recipe's last, resumable anywhere.

::

    draw ─► forward ─► loss ─► backward ─► clip ─► step ─► average ─► log, save
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from segpipe.errors import SettingsError, TrainingStopped, WeightsError
from segpipe.networks import Network
from segpipe.networks import network as find_network
from segpipe.training.averaging import update_average
from segpipe.training.checkpoints import load_checkpoint, save_checkpoint
from segpipe.training.logs import append_log, rewind_log
from segpipe.training.patches import Batch, Progress, Source, draw_batch, load_sources
from segpipe.training.pretrained import load_encoder, load_start
from segpipe.training.recipe import Recipe
from segpipe.training.selecting import select_samples

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
Draw = Callable[[int], Batch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The moving parts of a training run; what a checkpoint holds."""

    module: nn.Module
    average: nn.Module
    optimizer: AdamW

    def state(self, step: int, recipe: Recipe) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "step": step,
            "recipe": recipe.model_dump_json(),
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> int:
        """Take a checkpoint's state and return its step.

        Raises
        ------
        WeightsError
            If it is of another architecture.
        """
        try:
            self.module.load_state_dict(state["module"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            message = f"The checkpoint is of another architecture: {error}"
            raise WeightsError(message) from error
        return int(state["step"])


def train(
    recipe: Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Path:
    """Train a recipe's network, or go on where an earlier call was interrupted.

    Writes ``checkpoint.pt`` and ``log.csv`` (a row per step) under ``out``.

    Parameters
    ----------
    recipe
        What to train, on what, how long.
    out
        Folder of the run; made if missing.
    device
        Where to compute.
    progress
        Called with what is done, how many are done, and of how many.

    Returns
    -------
    Path
        The last checkpoint.

    Raises
    ------
    DatasetError
        If the images won't do; before the first step.
    WeightsError
        If the checkpoint in ``out`` is of another architecture.
    TrainingStopped
        If the loss is no number any more.
    """
    chosen = find_network(recipe.network)
    _check_patch(recipe, chosen)
    names = {one.name for one in recipe.sets}
    samples = select_samples(recipe.manifest, "train", recipe, only=names)
    out.mkdir(parents=True, exist_ok=True)
    run = start(recipe, chosen, torch.device(device))
    checkpoint = out / CHECKPOINT
    done = run.restore(load_checkpoint(checkpoint)) if checkpoint.exists() else 0
    sources = load_sources(recipe, samples, mpp=chosen.mpp, progress=progress)
    rewind_log(out / LOG, done)
    for step, terms in _steps(run, recipe, chosen, sources, done):
        append_log(out / LOG, step, _rate(recipe, step), terms)
        if step % recipe.save_every == 0 or step == recipe.steps:
            save_checkpoint(checkpoint, run.state(step, recipe))
        if progress is not None:
            progress("training", step, recipe.steps)
    return checkpoint


def _check_patch(recipe: Recipe, chosen: Network) -> None:
    side = chosen.window.input_px
    if (recipe.patch_px - side) % chosen.step_px:
        message = (
            f"The recipe {recipe.name} has patches of {recipe.patch_px} px; "
            f"{chosen.name} takes {side} px and multiples of {chosen.step_px} px more "
            "or less."
        )
        raise SettingsError(message)


def start(recipe: Recipe, chosen: Network, device: torch.device) -> Run:
    """Build the module from the recipe's seed, its average and its optimizer."""
    torch.manual_seed(recipe.seed)
    module = chosen.build(len(recipe.types))
    if recipe.starts_from is not None:
        load_start(
            module, recipe.starts_from, network=recipe.network, types=recipe.types
        )
    elif recipe.encoder_weights is not None:
        load_encoder(module, recipe.encoder_weights)
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Run(
        module=module, average=deepcopy(module), optimizer=_optimizer(module, recipe)
    )


def _optimizer(module: nn.Module, recipe: Recipe) -> AdamW:
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=recipe.rate)


def _rate(recipe: Recipe, step: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine to zero."""
    if step <= recipe.warmup_steps:
        return recipe.rate * step / recipe.warmup_steps
    span = max(1, recipe.steps - recipe.warmup_steps)
    done = (step - recipe.warmup_steps) / span
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * done))


def _steps(
    run: Run,
    recipe: Recipe,
    chosen: Network,
    sources: Sequence[Source],
    done: int,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Take the steps after ``done`` and yield each with its loss terms."""

    def draw(step: int) -> Batch:
        return draw_batch(sources, recipe, chosen, step)

    run.module.train()
    with closing(_ahead(draw, range(done + 1, recipe.steps + 1))) as batches:
        for step, batch in batches:
            for group in run.optimizer.param_groups:
                group["lr"] = _rate(recipe, step)
            terms = _step(run, recipe, chosen, batch)
            update_average(run.average, run.module, step, recipe.ema)
            yield step, _checked(terms, step)


def _ahead(draw: Draw, steps: range) -> Generator[tuple[int, Batch]]:
    """Yield each step's batch, drawing the next one meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Batch] | None = None
        for step in steps:
            batch = (waiting or pool.submit(draw, step)).result()
            waiting = pool.submit(draw, step + 1) if step + 1 in steps else None
            yield step, batch


def _step(
    run: Run, recipe: Recipe, chosen: Network, batch: Batch
) -> Mapping[str, Tensor]:
    device = next(run.module.parameters()).device
    planes = batch[0].to(device).float().contiguous(memory_format=torch.channels_last)
    targets = {name: target.to(device) for name, target in batch[1].items()}
    half = recipe.precision == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        outputs = run.module(planes)
    targets = {n: _core(target, outputs[0].shape) for n, target in targets.items()}
    terms = chosen.loss(outputs, targets)
    run.optimizer.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(run.module.parameters(), recipe.clip_norm)
    run.optimizer.step()
    return {name: term.detach() for name, term in terms.items()}


def _core(target: Tensor, shape: torch.Size) -> Tensor:
    """Cut the middle out, where the network is valid and its output is smaller."""
    top, left = (
        (whole - part) // 2
        for whole, part in zip(target.shape[-2:], shape[-2:], strict=True)
    )
    return target[..., top : top + shape[-2], left : left + shape[-1]]


def _checked(terms: Mapping[str, Tensor], step: int) -> dict[str, float]:
    values = {name: float(term) for name, term in terms.items()}
    bad = [f"{n} = {value}" for n, value in values.items() if not math.isfinite(value)]
    if bad:
        message = (
            f"Step {step}: {', '.join(bad)}. The last checkpoint is from before; "
            "train on from it with a lower rate."
        )
        raise TrainingStopped(message)
    return values
