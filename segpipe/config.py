"""What a user may choose about a run: checked once, at the door, and frozen."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segpipe.errors import SettingsError

Keepable = Literal["image", "maps"]


class Frozen(BaseModel):
    """A value that is checked once, and can be written as JSON and read back."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SlideRef(Frozen):
    """A slide to segment: where it is and what it is called."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
    """Name of the slide in every output; safe as a file name."""
    path: Path
    """File or folder."""
    mpp: Annotated[float, Field(gt=0)] | None = None
    """Micrometres per level-0 pixel, where the file's own is missing or wrong."""
    tissue_mask: Path | None = None
    """A mask picture to use instead of the detected tissue."""


class Settings(Frozen):
    """Choices that hold for every slide of a run."""

    network: str = "hoverlite"
    """Name of a network with shipped weights."""
    weights: Path | None = None
    """Weights (.safetensors beside their .toml card) instead of the shipped ones."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """Where the network runs; ``auto`` takes a GPU where there is one."""
    mpp: Annotated[float, Field(gt=0)] | None = None
    """Micrometres per level-0 pixel for slides that don't say, or say it wrong."""
    tissue_mask: Path | None = None
    """A mask picture for the slide: any size, nonzero is tissue."""
    tile_px: Annotated[int, Field(ge=64, le=8192)] = 1024
    """Side of a tile in canvas pixels. A matter of memory and speed only."""
    halo_px: Annotated[int, Field(ge=0, le=1024)] = 0
    """Margin read around a tile; raised to what the decoder's support needs."""
    min_area_um2: Annotated[float, Field(ge=0, le=1000)] = 4.0
    """Instances smaller than this are no nuclei."""
    max_extent_um: Annotated[float, Field(ge=20, le=500)] = 120.0
    """Instances wider or higher than this are no nuclei."""
    min_prob: Annotated[float, Field(ge=0, le=1)] | None = None
    """Instances of a lower mean probability are no nuclei; by default what the weights
    were calibrated with."""
    keep: frozenset[Keepable] = frozenset()
    """Intermediate arrays to keep after the table is written; of a detector, which has
    no maps, ``maps`` keeps its scored masks."""
    workers: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Dask workers on this machine; by default one for each core."""
    scheduler: str | None = None
    """Address of a running Dask scheduler to use instead, e.g. ``tls://host:8786``."""
    cluster: Path | None = None
    """Cluster profile (TOML) that says where workers come from instead."""
    slides_at_once: Annotated[int, Field(ge=1, le=256)] = 1
    """Slides of a cohort under way together, over the same workers."""
    report: bool = True
    """Whether to write the report page and the overlay picture."""
    max_quarantined: Annotated[str, Field(pattern=r"^\d+(\.\d+)?%$|^\d+$")] = "100%"
    """Most slides of a cohort that may fail, a number or a share of those that are
    tried; past it the run is stopped, because something is wrong with the run."""

    @model_validator(mode="after")
    def _one_source_of_workers(self) -> Self:
        sources = ("workers", "scheduler", "cluster")
        given = [name for name in sources if getattr(self, name) is not None]
        if len(given) > 1:
            said = " and ".join(f"{name}={getattr(self, name)}" for name in given)
            message = (
                f"{said} exclude each other: a scheduler and a cluster profile have "
                "their own workers. Leave one out."
            )
            raise ValueError(message)
        return self


def mask_of(slide: SlideRef, settings: Settings) -> Path | None:
    """Return the tissue mask that is given for a slide, if one is."""
    return slide.tissue_mask or settings.tissue_mask


def settings_from(
    path: Path | None,
    *,
    base: Settings | None = None,
    **chosen: Any,  # noqa: ANN401
) -> Settings:
    """Read settings from a TOML file, overridden by what was chosen otherwise.

    Parameters
    ----------
    path
        A TOML file of settings by their names, or ``None``.
    base
        Settings to start from, instead of the defaults.
    **chosen
        Settings by name; ``None`` means not chosen.

    Raises
    ------
    SettingsError
        If the file can't be read or a setting is unknown or out of range.
    """
    from_file: dict[str, Any] = {}
    if path is not None:
        try:
            from_file = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            message = f"Settings file {path} can't be read as TOML: {error}."
            raise SettingsError(message) from error
    overrides = {name: value for name, value in chosen.items() if value is not None}
    start = {} if base is None else base.model_dump()
    try:
        return Settings.model_validate(start | from_file | overrides)
    except ValidationError as error:
        raise SettingsError(plainly(error)) from error


def plainly(error: ValidationError, what: str = "Settings") -> str:
    """Say what a validation found, one clause a setting, without pydantic's links."""
    clauses = [
        f"{'.'.join(map(str, found['loc'])) or what.lower()} = {found['input']!r}: "
        f"{found['msg'].removeprefix('Value error, ')}"
        for found in error.errors()
    ]
    return f"{what} refused: {'; '.join(clauses)}."
