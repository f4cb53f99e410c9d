"""What a package holds one of per module: networks, readers, exports, providers."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType


def public_modules(package: str) -> Mapping[str, ModuleType]:
    """Import the modules of a package whose names don't begin with an underscore.

    Parameters
    ----------
    package
        Its full name, e.g. ``"segpipe.networks"``.

    Returns
    -------
    Mapping
        By the module's own name, in order.
    """
    found = pkgutil.iter_modules(import_module(package).__path__)
    names = sorted(
        module.name
        for module in found
        if not module.name.startswith("_") and not module.ispkg
    )
    return {name: import_module(f"{package}.{name}") for name in names}
