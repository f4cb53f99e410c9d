"""What a provider is: a profile's settings, and a block in which there are workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from distributed.security import Security
from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    model_validator,
)

from segpipe.config import Frozen, Settings

WAIT_S = 120.0
"""How long workers may take to come, where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Workers one can reach."""

    address: str
    """Of their scheduler."""
    security: Security | None = None
    """Certificates for ``tls://``; None is Dask's own configuration."""
    n_awaited: int = 1
    """Workers that come without work to do; a cluster that grows may begin with 0."""
    most_threads: int = 0
    """Threads of a cluster that grows, at its largest; 0 for one that stays as it is.

    So much work must be in sight, or nothing would tell it to grow.
    """
    wait_s: float = WAIT_S
    """How long a cluster may be without workers."""


def _beside_profile(path: Path, found: ValidationInfo) -> Path:
    folder = (found.context or {}).get("folder", Path())
    return Path(folder) / path.expanduser()


NearPath = Annotated[Path, AfterValidator(_beside_profile)]
"""A path in a profile; a relative one begins in the profile's folder."""


class Group(Frozen):
    """Workers of one kind: as many as there is work for, within limits."""

    min: Annotated[int, Field(ge=0, le=4096)] = 0
    """Kept also when there is nothing to do."""
    max: Annotated[int, Field(ge=1, le=4096)]
    """Never more."""
    idle_s: Annotated[float, Field(gt=0)] = 300.0
    """A worker beyond ``min`` that has had no work for so long is let go."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            message = f"min = {self.min} is more than max = {self.max}."
            raise ValueError(message)
        return self


class Profile(Frozen):
    """What every cluster profile may say; each provider adds its own."""

    provider: str
    """Module of this package."""
    wait_s: Annotated[float, Field(gt=0)] = WAIT_S
    """How long the first worker may take to come, and how long there may be none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A way to have workers."""

    profile: type[Profile]
    """What its profiles may say."""
    start: Callable[[Any, Settings], AbstractContextManager[Cluster]]
    """Have the workers of a profile while the block runs, and none of them after it.

    Raises `SettingsError` for a profile that can't be, before anything starts, and
    `ClusterLost` if workers can't be had.
    """
