"""Find providers, and read the profiles that choose one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from segpipe.config import plainly
from segpipe.errors import SettingsError
from segpipe.plugins import public_modules
from tasks.providers._provider import Profile, Provider


@cache
def providers() -> Mapping[str, Provider]:
    """Return every provider by name."""
    modules = public_modules("tasks.providers").items()
    return MappingProxyType({name: module.PROVIDER for name, module in modules})


def provider_named(name: str) -> Provider:
    """Return the provider of a name.

    Raises
    ------
    SettingsError
        If there is none.
    """
    if name not in providers():
        message = (
            f"There is no provider {name!r} of workers. A cluster profile says "
            f'provider = "..." with one of {", ".join(providers())}.'
        )
        raise SettingsError(message)
    return providers()[name]


def read_profile(path: Path) -> Profile:
    """Read a cluster profile.

    Raises
    ------
    SettingsError
        If the file can't be read, or says what its provider doesn't know.
    """
    try:
        said = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"Cluster profile {path} can't be read as TOML: {error}."
        raise SettingsError(message) from error
    provider = provider_named(str(said.get("provider", "")))
    try:
        return provider.profile.model_validate(said, context={"folder": path.parent})
    except ValidationError as error:
        raise SettingsError(plainly(error, f"Cluster profile {path}")) from error
