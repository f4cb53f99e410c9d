"""Find the exports: each public module of this package is one."""

from __future__ import annotations

from functools import cache

from segpipe.errors import SettingsError
from segpipe.exports._export import Export
from segpipe.plugins import public_modules


@cache
def exports() -> tuple[Export, ...]:
    """Return every export, by name."""
    modules = public_modules("segpipe.exports").values()
    found: list[Export] = [module.EXPORT for module in modules]
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
