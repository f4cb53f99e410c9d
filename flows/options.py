"""The options of ``segpipe``, each said once: name, help, and its panel there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RESULTS, MODEL, SLIDES, COMPUTE, OUTPUT = (
    "Results",
    "Network",
    "Slides",
    "Where it runs",
    "What is shown",
)
"""Panels of ``--help``."""

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="SLIDE|FOLDER|MANIFEST.csv...",
        help="Slides, folders of slides, or CSVs with a column 'path' and, if wanted, "
        "'slide_id', 'mpp', 'tissue_mask'.",
        show_default=False,
    ),
]
Slide = Annotated[Path, typer.Argument(metavar="SLIDE", show_default=False)]
ResultFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="--out of a run.", show_default=False)
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Result folder; made if missing, gone on with if it is of an earlier run.",
        rich_help_panel=RESULTS,
        show_default=False,
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        metavar="image,maps",
        help="Intermediate arrays to keep in the store.",
        rich_help_panel=RESULTS,
    ),
]
Report = Annotated[
    bool | None,
    typer.Option(
        "--report/--no-report",
        help="Write the overlay picture and the page of each slide.",
        rich_help_panel=RESULTS,
        show_default=False,
    ),
]
Network = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="One of `segpipe networks`. Default: hoverlite.",
        rich_help_panel=MODEL,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Weights (.safetensors, its .toml card beside it) to use instead.",
        rich_help_panel=MODEL,
    ),
]
Mpp = Annotated[
    float | None,
    typer.Option(
        help="Micrometres per level-0 pixel, where files don't say or say it wrong.",
        rich_help_panel=SLIDES,
    ),
]
TissueMask = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A picture of the tissue of the one slide, nonzero inside, of any size.",
        rich_help_panel=SLIDES,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="auto|cpu|cuda[:N]",
        help="Where the network runs. Default: auto, a GPU where there is one.",
        rich_help_panel=COMPUTE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Dask workers on this machine. Default: one for each core.",
        rich_help_panel=COMPUTE,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="A running Dask scheduler to use instead: tls://host:8786, or tcp:// on "
        "this machine.",
        rich_help_panel=COMPUTE,
    ),
]
TilePx = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Side of a tile. Changes memory and speed, never results. Default: 1024.",
        rich_help_panel=COMPUTE,
    ),
]
HaloPx = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Margin a tile is decoded with. Changes speed, never results.",
        rich_help_panel=COMPUTE,
    ),
]
Serial = Annotated[
    bool,
    typer.Option(
        "--serial",
        help="All in this process, without Prefect and Dask: for debugging.",
        rich_help_panel=COMPUTE,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Settings in TOML, by the names of these options with _ for -; options "
        "given here win.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object on stdout and nothing else.",
        rich_help_panel=OUTPUT,
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show where an error arose.", rich_help_panel=OUTPUT),
]
