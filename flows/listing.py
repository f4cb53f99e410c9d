"""What there is to choose from: networks and readers, as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from segpipe.errors import WeightsError
from segpipe.networks import card_of, networks, weights_file
from segpipe.slides import readers


def show_networks() -> None:
    """Print every network with its resolution, weights and paper."""
    table = Table(box=None, pad_edge=False)
    for name in ("network", "µm/px", "types", "weights", "paper"):
        table.add_column(name, justify="right" if name == "µm/px" else "left")
    for name, network in networks().items():
        mpp, types, licence = f"{network.mpp:g}", "", "none shipped"
        try:
            card = card_of(weights_file(name))
            mpp, types, licence = f"{card.mpp:g}", ", ".join(card.types), card.licence
        except WeightsError:
            pass
        table.add_row(name, mpp, types, licence, network.paper)
    Console(highlight=False).print(table)


def show_readers() -> None:
    """Print every reader with its formats, in the order they are asked."""
    table = Table(box=None, pad_edge=False)
    for name in ("reader", "suffixes", "formats"):
        table.add_column(name)
    for reader in readers():
        suffixes = " ".join(reader.suffixes)
        table.add_row(reader.name, suffixes, ", ".join(reader.formats))
    Console(highlight=False).print(table)
