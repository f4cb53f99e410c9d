"""Networks by name: every public module of this package is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from segpipe.errors import UnknownNetwork
from segpipe.networks._network import Network

_PACKAGE = "segpipe.networks"
_FOLDER = Path(__file__).parent


@cache
def networks() -> Mapping[str, Network]:
    """Return every network by name."""
    names = sorted(
        module.name
        for module in pkgutil.iter_modules([str(_FOLDER)])
        if not module.name.startswith("_") and not module.ispkg
    )
    return MappingProxyType(
        {name: importlib.import_module(f"{_PACKAGE}.{name}").NETWORK for name in names}
    )


def network(name: str) -> Network:
    """Return the network of a name.

    Raises
    ------
    UnknownNetwork
        If there is none; the message lists those there are.
    """
    known = networks()
    if name not in known:
        message = (
            f"There is no network {name!r}. There are: {', '.join(known) or 'none'}."
        )
        raise UnknownNetwork(message)
    return known[name]
