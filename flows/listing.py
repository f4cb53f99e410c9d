"""What there is to choose from, networks and readers, for people and for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from rich.console import Console, JustifyMethod
from rich.table import Table

from segpipe.errors import WeightsError
from segpipe.networks import card_of, networks, weights_file
from segpipe.slides import readers


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedNetwork:
    """A network as it is listed."""

    name: str
    mpp: float
    """Micrometres per pixel: of the weights that ship, or else of the network."""
    paper: str
    types: tuple[str, ...] = ()
    """Nucleus types of the weights that ship."""
    weights: str | None = None
    """File of the weights that ship; None if there are none."""
    licence: str | None = None
    """Of these weights."""


def list_networks(*, as_json: bool) -> None:
    """Print every network with its resolution, weights, and whose paper it is."""
    found = list(_networks())
    if as_json:
        _print_json("networks", [asdict(each) for each in found])
        return
    table = Table(box=None, pad_edge=False)
    for name in ("network", "µm/px", "types", "weights", "paper"):
        justify: JustifyMethod = "right" if name == "µm/px" else "left"
        table.add_column(name, justify=justify, no_wrap=name == "network")
    for each in found:
        types, licence = ", ".join(each.types), each.licence or "none shipped"
        table.add_row(each.name, f"{each.mpp:g}", types, licence, _authors(each.paper))
    Console(highlight=False).print(table)


def _networks() -> Iterator[ListedNetwork]:
    for name, network in networks().items():
        bare = ListedNetwork(name=name, mpp=network.mpp, paper=network.paper)
        try:
            weights = weights_file(name)
            card = card_of(weights)
        except WeightsError:
            yield bare
            continue
        yield replace(
            bare,
            mpp=card.mpp,
            types=card.types,
            weights=str(weights),
            licence=card.licence,
        )


def _authors(paper: str) -> str:
    """Return a citation up to its year."""
    found = re.match(r".*?\b\d{4}\b", paper)
    return found[0] if found else paper


def list_readers(*, as_json: bool) -> None:
    """Print every reader with its formats, in the order they are asked."""
    found = readers()
    if as_json:
        listed = [
            {"name": each.name, "suffixes": each.suffixes, "formats": each.formats}
            for each in found
        ]
        _print_json("readers", listed)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("reader", "suffixes", "formats"):
        table.add_column(name)
    for reader in found:
        suffixes = " ".join(reader.suffixes)
        table.add_row(reader.name, suffixes, ", ".join(reader.formats))
    Console(highlight=False).print(table)


def _print_json(name: str, listed: Sequence[Mapping[str, object]]) -> None:
    sys.stdout.write(json.dumps({name: listed}) + "\n")
