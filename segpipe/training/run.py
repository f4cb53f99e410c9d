"""A training run in memory: how its module and optimizer start, and resume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW

from segpipe.errors import OutputNotOurs, SettingsError, WeightsError
from segpipe.networks import Described
from segpipe.training.pretrained import load_encoder, load_start
from segpipe.training.recipe import Recipe

WITHOUT_EFFECT = frozenset(
    {
        "name",
        "manifest",
        "save_every",
        "evaluate_every",
        "evaluate_images",
        "licence",
        "data",
    }
)
"""Fields of a recipe that may change while a run goes on: no weight depends on them,
or, as with the manifest, a place may have another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The moving parts of a training run; what a checkpoint holds."""

    module: nn.Module
    average: nn.Module
    optimizer: AdamW

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return next(self.module.parameters()).device

    def state(self, step: int, recipe: Recipe) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "step": step,
            "recipe": recipe.model_dump_json(),
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any], recipe: Recipe, path: Path) -> int:
        """Take a checkpoint's state and return its step.

        Raises
        ------
        OutputNotOurs
            If it is of another recipe; the message says what differs.
        WeightsError
            If it is of another architecture, or holds no finite numbers.
        """
        _check_same(state, recipe, path)
        try:
            self.module.load_state_dict(state["module"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            step = int(state["step"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            message = f"The checkpoint {path} is of another architecture: {error}"
            raise WeightsError(message) from error
        check_finite(self.module, str(path))
        check_finite(self.average, str(path))
        return step


def _check_same(state: Mapping[str, Any], recipe: Recipe, path: Path) -> None:
    try:
        there = _flat(Recipe.model_validate_json(state["recipe"]).model_dump())
    except (KeyError, ValueError) as error:
        message = f"{path} is no checkpoint of a training run: {error}"
        raise WeightsError(message) from error
    own = _flat(recipe.model_dump())
    differ = [
        f"{name}: {there.get(name)} there, {own.get(name)} here"
        for name in sorted(own.keys() | there.keys())
        if name not in WITHOUT_EFFECT and own.get(name) != there.get(name)
    ]
    if differ:
        message = (
            f"{path} is of a run by another recipe, {'; '.join(differ)}. "
            "Train into another folder, or by that recipe."
        )
        raise OutputNotOurs(message)


def _flat(value: Any, name: str = "") -> dict[str, Any]:  # noqa: ANN401 - any field's
    """Return nested fields by dotted name; those of a set by the set's."""
    parts: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, tuple) and value and isinstance(value[0], dict):
        parts = ((one["name"], one) for one in value)
    else:
        return {name: value}
    return {
        leaf: found
        for key, part in parts
        for leaf, found in _flat(part, f"{name}.{key}" if name else key).items()
    }


def check_finite(module: nn.Module, source: str) -> None:
    """Refuse weights that are no finite numbers.

    Raises
    ------
    WeightsError
        With the names of the first.
    """
    bad = [n for n, v in module.state_dict().items() if not v.isfinite().all()]
    if bad:
        message = (
            f"{len(bad)} weights from {source} are no finite numbers: "
            f"{', '.join(bad[:3])}. Training can't start from them."
        )
        raise WeightsError(message)


def start(recipe: Recipe, chosen: Described, device: torch.device) -> Run:
    """Build the module from the recipe's seed, its average and its optimizer.

    Raises
    ------
    SettingsError, WeightsError
        If what it starts from is missing, unsafe, damaged or of another network, or
        the recipe treats an encoder apart that the network hasn't.
    """
    torch.manual_seed(recipe.seed)
    module = chosen.build(len(recipe.types))
    if recipe.starts_from is not None:
        load_start(
            module, recipe.starts_from, network=recipe.network, types=recipe.types
        )
    elif recipe.encoder_weights is not None:
        load_encoder(module, recipe.encoder_weights)
    check_finite(module, recipe.starts_from or recipe.encoder_weights or recipe.network)
    _check_encoder(module, recipe)
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Run(
        module=module, average=deepcopy(module), optimizer=_optimizer(module, recipe)
    )


def _check_encoder(module: nn.Module, recipe: Recipe) -> None:
    apart = recipe.freeze_encoder_steps > 0 or recipe.encoder_rate < 1
    if apart and not isinstance(getattr(module, "encoder", None), nn.Module):
        message = (
            f"The recipe {recipe.name} has freeze_encoder_steps "
            f"{recipe.freeze_encoder_steps} and encoder_rate {recipe.encoder_rate}, "
            f"but {recipe.network} has no encoder. Leave them out."
        )
        raise SettingsError(message)


def _optimizer(module: nn.Module, recipe: Recipe) -> AdamW:
    """Return AdamW with decay on matrices only, and the encoder apart if it is slower.

    Each group holds its share of the learning rate as ``factor``.
    """
    slow = recipe.encoder_rate < 1
    encoder = {id(p) for p in module.encoder.parameters()} if slow else set()  # type: ignore[union-attr]
    groups = [
        {
            "params": [
                p
                for p in module.parameters()
                if (id(p) in encoder) == of_encoder and (p.ndim > 1) == decays
            ],
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "factor": recipe.encoder_rate if of_encoder else 1.0,
        }
        for of_encoder in ((False, True) if slow else (False,))
        for decays in (True, False)
    ]
    return AdamW([g for g in groups if g["params"]], lr=recipe.rate)


def set_rate(optimizer: AdamW, rate: float) -> None:
    """Give each group its share of a rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def rate_of(recipe: Recipe, step: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine to zero."""
    if step <= recipe.warmup_steps:
        return recipe.rate * step / recipe.warmup_steps
    span = max(1, recipe.steps - recipe.warmup_steps)
    done = (step - recipe.warmup_steps) / span
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * done))


def set_mode(module: nn.Module, recipe: Recipe, step: int) -> None:
    """Set training mode, with the encoder frozen if this step wants it so.

    A frozen encoder is in evaluation mode: its batch statistics stay too.
    """
    module.train()
    if recipe.freeze_encoder_steps == 0:
        return
    frozen = step <= recipe.freeze_encoder_steps
    encoder = module.get_submodule("encoder")
    encoder.train(mode=not frozen)
    encoder.requires_grad_(requires_grad=not frozen)
