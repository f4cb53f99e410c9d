"""The command ``segpipe convert``: weights to run with from others' checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows import options
from flows.exits import exits

EXAMPLE = """
Example: `segpipe convert hovernet_fast_pannuke.tar --network hovernet
--types neoplastic,inflammatory,connective,dead,epithelial --out weights`, then
`segpipe run slide.svs --weights weights/hovernet_fast_pannuke.safetensors --out out`
"""


def convert(  # noqa: PLR0913 - each is an option
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT", help="File of torch.save.", show_default=False
        ),
    ],
    *,
    network: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Which it is of: one of `segpipe networks`.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Folder; made if missing.", show_default=False
        ),
    ],
    types: Annotated[
        str,
        typer.Option(
            metavar="A,B,C", help="Names of its nucleus types, without background."
        ),
    ] = "",
    mpp: Annotated[
        float | None,
        typer.Option(
            help="Micrometres per pixel it was trained at. Default: the network's."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the weights. Default: of the file."),
    ] = None,
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Of the weights, for the card.")
    ] = "",
    data: Annotated[
        str, typer.Option(metavar="TEXT", help="What it was trained on, for the card.")
    ] = "",
    debug: options.Debug = False,
) -> None:
    """Make weights to run with of a checkpoint from elsewhere, e.g. HoVer-Net's."""
    with exits(debug=debug):
        from segpipe.networks import Card  # noqa: PLC0415
        from segpipe.networks import network as find_network  # noqa: PLC0415
        from segpipe.training.converting import convert_checkpoint  # noqa: PLC0415

        chosen = find_network(network)
        card = Card(
            name=checkpoint.stem if name is None else name,
            network=chosen.name,
            sha256="",
            mpp=chosen.mpp if mpp is None else mpp,
            types=tuple(one.strip() for one in types.split(",")) if types else (),
            licence=licence,
            data=data,
        )
        sys.stdout.write(f"{convert_checkpoint(checkpoint, out, card)}\n")
