"""Packages that only some providers need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from segpipe.errors import SettingsError


def imported(module: str, *, extra: str) -> ModuleType:
    """Import a module of an optional dependency.

    Raises
    ------
    SettingsError
        If it isn't installed; names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = (
            f"This cluster profile needs the package {package}, which can't be "
            f"imported ({error}). In segpipe's repository: pip install '.[{extra}]'"
        )
        raise SettingsError(message) from error
