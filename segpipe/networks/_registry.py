"""Networks by name: every public module of this package is one.

A module ends in ``NETWORK``, a `Network` or a `Detector`. One that comes in several
builds also has ``VARIANTS``, the names of those worth listing, and ``variant(name)``,
which returns the one called ``"module:name"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType, ModuleType

from segpipe.errors import UnknownNetwork
from segpipe.networks._network import AnyNetwork
from segpipe.plugins import public_modules


@cache
def networks() -> Mapping[str, AnyNetwork]:
    """Return every network by name, with the variants that its module lists."""
    listed: dict[str, AnyNetwork] = {}
    for name, module in _modules().items():
        listed[name] = module.NETWORK
        for variant in getattr(module, "VARIANTS", ()):
            listed[f"{name}:{variant}"] = module.variant(variant)
    return MappingProxyType(listed)


@cache
def _modules() -> Mapping[str, ModuleType]:
    return public_modules("segpipe.networks")


def network(name: str) -> AnyNetwork:
    """Return the network of a name, ``"unet"``, or of a variant, ``"unet:padded"``.

    Raises
    ------
    UnknownNetwork
        If there is none; the message lists those there are.
    """
    known = networks()
    if name in known:
        return known[name]
    base, _, variant = name.partition(":")
    module = _modules().get(base)
    if module is None or not variant or not hasattr(module, "variant"):
        message = (
            f"There is no network {name!r}. There are: {', '.join(known) or 'none'}."
        )
        raise UnknownNetwork(message)
    found: AnyNetwork = module.variant(variant)
    return found
