"""One training step after another: forward, loss, backward, clip, step, average."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from segpipe.errors import TrainingStopped
from segpipe.networks import AnyNetwork
from segpipe.training.averaging import update_average
from segpipe.training.feeding import on_device
from segpipe.training.patches import Batch
from segpipe.training.recipe import Recipe
from segpipe.training.run import Run, rate_of, set_mode, set_rate

GRADIENT = "norm of the gradient"
"""Beside the terms of the loss, what must be a finite number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """What is known of a step that was taken."""

    step: int
    rate: float
    terms: Mapping[str, float]
    """Terms of the loss."""
    dev: Mapping[str, float] = field(default_factory=dict)
    """Scores on dev images; empty but every ``evaluate_every`` steps."""

    @property
    def row(self) -> dict[str, float]:
        """What the log says of it."""
        return {"rate": self.rate, "loss": sum(self.terms.values()), **self.terms}


def take_steps(
    run: Run, recipe: Recipe, chosen: AnyNetwork, batches: Iterable[tuple[int, Batch]]
) -> Iterator[StepDone]:
    """Take a step with each batch and yield it.

    Raises
    ------
    TrainingStopped
        If a term of the loss, or the norm of its gradient, is no finite number; the
        weights are those of the step before.
    """
    for step, batch in batches:
        rate = rate_of(recipe, step)
        set_rate(run.optimizer, rate)
        set_mode(run.module, recipe, step)
        terms = _step(run, recipe, chosen, batch, step)
        update_average(run.average, run.module, step, recipe.ema)
        yield StepDone(step=step, rate=rate, terms=terms)


def _step(
    run: Run, recipe: Recipe, chosen: AnyNetwork, batch: Batch, step: int
) -> Mapping[str, float]:
    planes, targets = on_device(batch, run.device)
    half = recipe.precision == "bfloat16"
    _seed(recipe.seed, step)
    with torch.autocast(run.device.type, torch.bfloat16, enabled=half):
        outputs = run.module(planes)
    terms = chosen.loss_terms(run.module, outputs, targets)
    run.optimizer.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(run.module.parameters(), recipe.clip_norm)
    values = _fetched({**terms, GRADIENT: norm}, step)
    run.optimizer.step()
    return {name: values[name] for name in terms}


def _seed(seed: int, step: int) -> None:
    """Make dropout depend on seed and step alone, so that a resumed run's is the same.

    Sets torch's generators of every device.
    """
    low, high = np.random.SeedSequence((seed, step)).generate_state(2)
    torch.manual_seed(int(high) << 31 ^ int(low))


def _fetched(numbers: Mapping[str, Tensor], step: int) -> dict[str, float]:
    """Fetch numbers, all at once: a GPU is waited for once a step.

    Raises
    ------
    TrainingStopped
        If one is no finite number.
    """
    fetched = torch.stack([one.detach() for one in numbers.values()]).tolist()
    values = dict(zip(numbers, fetched, strict=True))
    bad = [f"{n} = {value}" for n, value in values.items() if not math.isfinite(value)]
    if bad:
        message = (
            f"Step {step}: {', '.join(bad)}. The step was not taken, and the last "
            "checkpoint is from before: train on from it in another folder, with "
            "starts_from = its path and a lower rate in the recipe."
        )
        raise TrainingStopped(message)
    return values
