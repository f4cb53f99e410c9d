"""Training under a budget: what is the same for all, and a contender's recipe by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import torch

from contest.contenders import TYPES, Contender
from segpipe.networks import Described, network
from segpipe.training.export import export_weights
from segpipe.training.fit import CHECKPOINT, StepDone, train
from segpipe.training.recipe import Recipe, SetRecipe, read_recipe

TIMED_STEPS = 10
LEAST_STEPS = 40
"""Fewer are no training."""
TIMED_ON = ("tnbc", "consep")
"""Sets that seconds per step are measured on: reading them takes little."""
SPENT = "spent_s.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What every contender gets alike."""

    minutes: float
    """Of the one thread's time on a CPU, of the clock on a GPU; spent on steps, not on
    reading the images."""
    device: str = "cpu"
    batch: int = 4
    patch_px: int = 192
    seed: int = 1

    @property
    def clock(self) -> Callable[[], float]:
        """What seconds are read from."""
        return time.process_time if self.device == "cpu" else time.perf_counter


def use_one_thread() -> None:
    """Let torch and OpenCV compute on one thread; patches are drawn by another."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def patch_side(chosen: Described, wanted: int) -> int:
    """Return the side nearest to ``wanted`` that a network can be fed."""
    side, step = chosen.window.input_px, chosen.step_px
    return side + round((wanted - side) / step) * step


def recipe_of(
    contender: Contender, budget: Budget, manifest: Path, steps: int
) -> Recipe:
    """Return a contender's recipe: hoverlite's sets, in the budget's batches."""
    shipped = read_recipe(Path("hoverlite"), manifest=manifest)
    wanted = contender.patch_px or budget.patch_px
    return Recipe(
        **{
            "name": contender.name,
            "network": contender.network,
            "manifest": manifest,
            "sets": shipped.sets if contender.typed else untyped(shipped.sets),
            "types": TYPES if contender.typed else (),
            "encoder_weights": contender.encoder_weights,
            "seed": budget.seed,
            "patch_px": patch_side(network(contender.network), wanted),
            "batch": budget.batch,
            "steps": steps,
            "warmup_steps": max(1, min(500, steps // 20)),
            "rate": contender.rate,
            "ema": min(0.998, 1 - 10 / (steps + 10)),
            "save_every": max(20, steps // 10),
            "precision": "bfloat16",
            "licence": shipped.licence,
            "data": shipped.data,
            **contender.fields,
        }
    )


def untyped(sets: tuple[SetRecipe, ...]) -> tuple[SetRecipe, ...]:
    """Return sets whose types are not read."""
    return tuple(one.model_copy(update={"classes": ()}) for one in sets)


def seconds_per_step(contender: Contender, budget: Budget, manifest: Path) -> float:
    """Take the first steps, on a part of the images, and time all but two of them."""
    recipe = recipe_of(contender, budget, manifest, TIMED_STEPS)
    few = tuple(one for one in recipe.sets if one.name in TIMED_ON)
    times: list[float] = []

    def watch(_: StepDone) -> None:
        times.append(budget.clock())

    with TemporaryDirectory() as folder:
        train(
            recipe.model_copy(update={"sets": few}),
            Path(folder),
            device=budget.device,
            watch=watch,
        )
    return (times[-1] - times[1]) / (TIMED_STEPS - 2)


def planned_steps(
    contender: Contender, budget: Budget, manifest: Path, folder: Path
) -> int:
    """Return how many steps the budget buys, as was found when the run began."""
    path = folder / "steps.txt"
    if not path.exists():
        each_s = seconds_per_step(contender, budget, manifest)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(str(int(60 * budget.minutes / each_s)), encoding="utf-8")
    return int(path.read_text(encoding="utf-8"))


def train_within(
    contender: Contender, budget: Budget, manifest: Path, folder: Path
) -> tuple[Path, float]:
    """Train for the steps the budget buys, or go on where that was interrupted.

    Returns
    -------
    weights, spent_s
        The weights file, and the seconds its steps took.
    """
    steps = planned_steps(contender, budget, manifest, folder)
    spent, last = folder / SPENT, [0.0]

    def loading(what: str, _done: int, _all: int) -> None:
        if what != "training":
            last[0] = budget.clock()

    def watch(_: StepDone) -> None:
        now, before = budget.clock(), _number(spent)
        spent.write_text(f"{before + now - last[0]:.3f}", encoding="utf-8")
        last[0] = now

    train(
        recipe_of(contender, budget, manifest, steps),
        folder,
        device=budget.device,
        progress=loading,
        watch=watch,
    )
    return export_weights(folder / CHECKPOINT, folder), _number(spent)


def _number(path: Path) -> float:
    return float(path.read_text(encoding="utf-8")) if path.exists() else 0.0
