"""What there is to choose from: networks and readers, as tables."""

from __future__ import annotations

import re

from rich.console import Console, JustifyMethod
from rich.table import Table

from segpipe.errors import WeightsError
from segpipe.networks import card_of, networks, weights_file
from segpipe.slides import readers


def show_networks() -> None:
    """Print every network with its resolution, weights, and whose paper it is."""
    table = Table(box=None, pad_edge=False)
    for name in ("network", "µm/px", "types", "weights", "paper"):
        justify: JustifyMethod = "right" if name == "µm/px" else "left"
        table.add_column(name, justify=justify, no_wrap=name == "network")
    for name, network in networks().items():
        mpp, types, licence = f"{network.mpp:g}", "", "none shipped"
        try:
            card = card_of(weights_file(name))
            mpp, types, licence = f"{card.mpp:g}", ", ".join(card.types), card.licence
        except WeightsError:
            pass
        table.add_row(name, mpp, types, licence, _authors(network.paper))
    Console(highlight=False).print(table)


def _authors(paper: str) -> str:
    """Return a citation up to its year."""
    found = re.match(r".*?\b\d{4}\b", paper)
    return found[0] if found else paper


def show_readers() -> None:
    """Print every reader with its formats, in the order they are asked."""
    table = Table(box=None, pad_edge=False)
    for name in ("reader", "suffixes", "formats"):
        table.add_column(name)
    for reader in readers():
        suffixes = " ".join(reader.suffixes)
        table.add_row(reader.name, suffixes, ", ".join(reader.formats))
    Console(highlight=False).print(table)
