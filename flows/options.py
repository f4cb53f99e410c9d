"""The options of ``segpipe``, each said once: name, help, and its panel there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RESULTS, MODEL, SLIDES, IMAGES, COMPUTE, OUTPUT = (
    "Results",
    "Network",
    "Slides",
    "Annotated images",
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
        dir_okay=False,
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
Cluster = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A cluster profile (TOML) says where workers come from: this machine, "
        "an address, SLURM, Kubernetes.",
        rich_help_panel=COMPUTE,
    ),
]
SlidesAtOnce = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Slides of a cohort under way together, over the same workers: one for "
        "every eight workers keeps them busy. Default: 1.",
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
MaxQuarantined = Annotated[
    str | None,
    typer.Option(
        metavar="N|P%",
        help="Stop if more slides fail than this number, or share of those tried. "
        "Default: 100%, never.",
        rich_help_panel=SLIDES,
    ),
]
RetryQuarantined = Annotated[
    bool,
    typer.Option(
        "--retry-quarantined",
        help="Try quarantined slides again though neither they nor settings changed.",
        rich_help_panel=SLIDES,
    ),
]
MinArea = Annotated[
    float | None,
    typer.Option(
        "--min-area-um2",
        metavar="UM2",
        help="Instances smaller than this are no nuclei. Default: 4.",
        rich_help_panel=RESULTS,
    ),
]
MaxExtent = Annotated[
    float | None,
    typer.Option(
        "--max-extent-um",
        metavar="UM",
        help="Instances wider or higher than this are no nuclei. Default: 120.",
        rich_help_panel=RESULTS,
    ),
]
MinProb = Annotated[
    float | None,
    typer.Option(
        "--min-prob",
        metavar="P",
        help="Instances whose mean probability is lower are no nuclei; 0 keeps all. "
        "Default: what the weights were calibrated with.",
        rich_help_panel=RESULTS,
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
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Say only what went wrong, on stderr.",
        rich_help_panel=OUTPUT,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="SEGPIPE_LOG_FILE",
        help="Append every event to this file, as a line of JSON.",
        rich_help_panel=OUTPUT,
    ),
]
MetricsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.prom",
        envvar="SEGPIPE_METRICS_FILE",
        help="Keep metrics in this file, for Prometheus' node_exporter.",
        rich_help_panel=OUTPUT,
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
FoundLabels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="DIR",
        help="Score these label maps instead of a network's: ID or SET/ID with .png, "
        ".npy, .tif or .tiff.",
        rich_help_panel=MODEL,
        exists=True,
        file_okay=False,
    ),
]
TestTime = Annotated[
    str | None,
    typer.Option(
        "--tta",
        metavar="none|flips",
        help="Predict each image in one, or in all eight orientations. Default: none.",
        rich_help_panel=MODEL,
    ),
]
Manifest = Annotated[
    Path,
    typer.Option(
        metavar="CSV",
        help="Annotated images: set, id, split, image, labels, and, if wanted, types, "
        "mpp, organ.",
        rich_help_panel=IMAGES,
        show_default=False,
    ),
]
Split = Annotated[
    str,
    typer.Option(metavar="NAME", help="Which of them.", rich_help_panel=IMAGES),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME",
        help="Only this set; may be repeated. Default: all that have the split.",
        rich_help_panel=IMAGES,
        show_default=False,
    ),
]
RecipeOfSets = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        metavar="RECIPE",
        help="Says the sets' mpp, and which of the network's types theirs are. "
        "Default: the shipped recipe of the weights, if there is one.",
        rich_help_panel=IMAGES,
        show_default=False,
    ),
]
Scores = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder for the scores; made if missing.",
        rich_help_panel=RESULTS,
        show_default=False,
    ),
]


def members(listed: str | None) -> list[str] | None:
    """Return what stands between commas; None if nothing was given."""
    if listed is None:
        return None
    return [name for each in listed.split(",") if (name := each.strip())]


def _list_recipes(asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked:
        from flows.training import show_recipes  # noqa: PLC0415

        show_recipes()
        raise typer.Exit


Recipe = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE",
        help="TOML file, or a shipped recipe's name.",
        show_default=False,
    ),
]
TrainOn = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        metavar="CSV",
        help="Annotated images, instead of the recipe's, which is looked for in the "
        "current folder.",
    ),
]
Steps = Annotated[
    int | None, typer.Option(metavar="N", help="Instead of the recipe's.", min=1)
]
DrawWorkers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Threads that draw patches. Changes speed, never results. Default: 1 on a "
        "CPU, up to 16 for a GPU.",
        min=1,
        rich_help_panel=COMPUTE,
    ),
]
ListRecipes = Annotated[
    bool,
    typer.Option(
        "--list",
        help="List the recipes that ship.",
        callback=_list_recipes,
        is_eager=True,
    ),
]
