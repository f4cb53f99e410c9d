"""A recipe: everything that decides a training run, read from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segpipe.errors import SettingsError
from segpipe.training.augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the recipes that ship."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetRecipe(_Frozen):
    """One annotated set and how it is used."""

    name: str
    """Name in the manifest."""
    weight: float = Field(gt=0)
    """Share of the patches, relative to the other sets."""
    mpp: float | None = Field(default=None, gt=0)
    """Micrometres per pixel where the manifest has none."""
    classes: tuple[int, ...] = ()
    """For each type of the set (1, 2, ...) the recipe's type; empty: untyped."""
    held_out: frozenset[str] = frozenset()
    """Images of the train split that are kept for dev."""


class Recipe(_Frozen):
    """Everything that decides a training run."""

    name: str
    network: str
    manifest: Path
    """CSV of annotated images."""
    sets: tuple[SetRecipe, ...]
    types: tuple[str, ...] = ()
    """Names of the nucleus types the network learns to tell apart."""
    encoder_weights: str | None = None
    """Package or file of the weights the encoder starts from."""
    starts_from: str | None = None
    """Weights of the whole network to start from instead: the name of a network whose
    weights ship, or a weights file. For more training, or for your own slides."""
    seed: int = 1
    patch_px: int = Field(default=256, gt=0)
    """Side of what the network is fed: its window's, or a multiple of its
    ``step_px`` more or less."""
    batch: int = Field(default=8, gt=0)
    steps: int = Field(gt=0)
    warmup_steps: int = Field(default=200, ge=0)
    rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=1e-2, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    ema: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the averaged weights, which are the ones that ship."""
    save_every: int = Field(default=500, gt=0)
    precision: str = Field(default="float32", pattern="^(float32|bfloat16)$")
    augmentation: Augmentation = Augmentation()
    licence: str = ""
    """Licence of the weights."""
    data: str = ""
    """Where the images come from and how to cite them, for the card."""

    @model_validator(mode="after")
    def _know_every_class(self) -> Self:
        for one in self.sets:
            strange = [k for k in one.classes if not 1 <= k <= len(self.types)]
            if strange:
                message = (
                    f"the set {one.name} has types that become type {strange[0]}, but "
                    f"the recipe names {len(self.types)} types"
                )
                raise ValueError(message)
        return self


def shipped_recipe(network: str) -> Recipe | None:
    """Return the recipe of a network's shipped weights, if there is one."""
    path = RECIPES / f"{network}.toml"
    return read_recipe(path) if path.is_file() else None


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path
        TOML file, or just the name of a recipe that ships.

    Raises
    ------
    SettingsError
        If the file is missing, no TOML, or has unknown or impossible fields.
    """
    own = RECIPES / f"{path.name}.toml"
    if not path.suffix and not path.exists() and own.is_file():
        path = own
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        message = f"No recipe can be read at {path}: {error.strerror}."
        raise SettingsError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"The recipe {path} is not TOML: {error}."
        raise SettingsError(message) from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
        )
        message = f"The recipe {path} won't do: {faults}."
        raise SettingsError(message) from error
