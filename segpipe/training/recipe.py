"""A recipe: everything that decides a training run, read from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from segpipe.config import Frozen
from segpipe.errors import SettingsError
from segpipe.training.augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the recipes that ship."""
PSEUDO = "pseudo"
"""Name of the set that self-training makes."""


class SetRecipe(Frozen):
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


class SelfTraining(Frozen):
    """Images without annotation, which a trained network annotates before training.

    Xie et al. 2020, *Self-training with Noisy Student*: what the teacher is sure of is
    learned under the full augmentation; what it isn't sure of counts for nothing.
    """

    images: str = Field(min_length=1)
    """Folder of image files, or a pattern such as ``tiles/*.png``; relative to the
    current folder."""
    mpp: float = Field(gt=0)
    """Micrometres per pixel of the images."""
    teacher: str = "hoverlite"
    """Name of a network whose weights ship, or a weights file."""
    confidence: float = Field(default=0.9, ge=0.5, lt=1)
    """A nucleus is taken if its mean foreground probability is at least this, a type
    if its mean probability is, and background if foreground is at most the rest."""
    agreement: float = Field(default=0.7, ge=0, le=1)
    """And if the mirrored image gives the same nucleus up to this intersection over
    union; 0 doesn't ask."""
    weight: float = Field(default=0.2, gt=0)
    """Share of the patches, relative to the sets."""


class Recipe(Frozen):
    """Everything that decides a training run."""

    name: str
    network: str
    manifest: Path
    """CSV of annotated images; relative to the current folder."""
    sets: tuple[SetRecipe, ...]
    types: tuple[str, ...] = ()
    """Names of the nucleus types the network learns to tell apart."""
    encoder_weights: str | None = None
    """Package or file of the weights the encoder starts from, or the name of a network
    whose weights ship: its encoder's."""
    starts_from: str | None = None
    """Weights of the whole network to start from instead: the name of a network whose
    weights ship, a weights file, or the ``checkpoint.pt`` of another run. For more
    training, or for your own slides."""
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
    freeze_encoder_steps: int = Field(default=0, ge=0)
    """Steps in which the encoder, with its batch statistics, stays as it starts."""
    encoder_rate: float = Field(default=1.0, gt=0, le=1)
    """Learning rate of the encoder, as a share of the others'."""
    clip_norm: float = Field(default=5.0, gt=0)
    ema: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the averaged weights, which are the ones that ship."""
    save_every: int = Field(default=500, gt=0)
    evaluate_every: int = Field(default=0, ge=0)
    """Steps between scores on dev images, which change nothing; 0: never."""
    evaluate_images: int = Field(default=4, gt=0)
    """Dev images to score on."""
    precision: str = Field(default="float32", pattern="^(float32|bfloat16)$")
    """Of the forward pass. bfloat16 has float32's range, so no loss scaling is needed;
    float16, which would need it, is not offered."""
    balance: float = Field(default=0.0, ge=0, le=1)
    """Share of the patches, and of pasted nuclei, that are drawn by type, each type as
    often as another, so that rare ones come up."""
    augmentation: Augmentation = Augmentation()
    self_training: SelfTraining | None = None
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

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        if not self.name or Path(self.name).name != self.name:
            message = f"name is {self.name!r}; it must serve as a file's, the weights'"
            raise ValueError(message)
        if self.balance > 0 and not self.types:
            message = f"balance is {self.balance}, but the recipe names no types"
            raise ValueError(message)
        names = [one.name for one in self.sets]
        if self.self_training is not None:
            names.append(PSEUDO)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not self.sets:
            message = f"sets: {', '.join(twice)} twice" if twice else "there is no set"
            raise ValueError(message)
        return self


def shipped_recipe(network: str) -> Recipe | None:
    """Return the recipe of a network's shipped weights, if there is one."""
    path = RECIPES / f"{network}.toml"
    return read_recipe(path) if path.is_file() else None


def shipped_recipes() -> tuple[Path, ...]:
    """Return the files of the recipes that ship, by name."""
    return tuple(sorted(RECIPES.glob("*.toml")))


def read_recipe(
    path: Path, *, manifest: Path | None = None, steps: int | None = None
) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    path
        TOML file, or just the name of a recipe that ships.
    manifest, steps
        What to put in place of the recipe's own.

    Raises
    ------
    SettingsError
        If the file is missing, no TOML, or has unknown or impossible fields.
    """
    own = RECIPES / f"{path.name}.toml"
    if not path.suffix and not path.is_file() and own.is_file():
        path = own
    given = {"manifest": manifest, "steps": steps}
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        fields |= {name: v for name, v in given.items() if v is not None}
        return Recipe.model_validate(fields)
    except OSError as error:
        shipped = ", ".join(one.stem for one in shipped_recipes())
        message = (
            f"No recipe can be read at {path}: {error.strerror}. These ship: {shipped}."
        )
        raise SettingsError(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"The recipe {path} is not TOML: {error}."
        raise SettingsError(message) from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
        )
        message = f"The recipe {path} won't do: {faults}."
        raise SettingsError(message) from error
