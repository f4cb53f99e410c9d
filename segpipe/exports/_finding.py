"""Find the exports: each public module of this package is one."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from segpipe.errors import SettingsError
from segpipe.exports._export import Export

PACKAGE = "segpipe.exports"


@cache
def exports() -> tuple[Export, ...]:
    """Return every export, by name."""
    package = import_module(PACKAGE)
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    found: list[Export] = [
        import_module(f"{PACKAGE}.{name}").EXPORT
        for name in names
        if not name.startswith("_")
    ]
    return tuple(sorted(found, key=lambda export: export.name))


def export_named(name: str) -> Export:
    """Return the export of a name.

    Raises
    ------
    SettingsError
        If there is none.
    """
    by_name = {export.name: export for export in exports()}
    if name not in by_name:
        message = f"There is no export {name!r}. Choose one of {', '.join(by_name)}."
        raise SettingsError(message)
    return by_name[name]
