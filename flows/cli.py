"""The command line ``segpipe``.

Only the standard library, typer and settings are imported here: torch, Prefect and Dask
take seconds, and are imported by the commands that need them.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from flows import (
    calibrating,
    comparing,
    converting,
    evaluating,
    formats,
    options,
    serving,
)
from flows.exits import STOPPED, TERMINATED, exits, stoppable
from segpipe.config import Settings, settings_from

app = typer.Typer(
    name="segpipe",
    help="Find every nucleus in whole-slide H&E images.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

RUN_EXAMPLES = """
Examples:

`segpipe run slide.svs --out results`

`segpipe run slides/ more/*.ndpi --out results --workers 8`

`segpipe run cohort.csv --out results --keep maps --json`

Exit codes: 0 all done, or being done by another run · 3 some slides quarantined, the
rest done · 2 usage or a refused plan · 1 anything else · 130 Ctrl-C · 143 SIGTERM. The
same command again goes on where it stopped.
"""


def _say_version(asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked:
        sys.stdout.write(f"segpipe {version('segpipe')}\n")
        raise typer.Exit


@app.callback()
def _top(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Say the version.", callback=_say_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Find every nucleus in whole-slide H&E images."""


@app.command(epilog=RUN_EXAMPLES)
def run(  # noqa: PLR0913 - each is an option
    inputs: options.Inputs,
    *,
    out: options.Out,
    keep: options.Keep = None,
    report: options.Report = None,
    network: options.Network = None,
    weights: options.Weights = None,
    mpp: options.Mpp = None,
    tissue_mask: options.TissueMask = None,
    device: options.Device = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    cluster: options.Cluster = None,
    slides_at_once: options.SlidesAtOnce = None,
    tile_px: options.TilePx = None,
    halo_px: options.HaloPx = None,
    min_area_um2: options.MinArea = None,
    max_extent_um: options.MaxExtent = None,
    min_prob: options.MinProb = None,
    max_quarantined: options.MaxQuarantined = None,
    retry_quarantined: options.RetryQuarantined = False,
    serial: options.Serial = False,
    config: options.Config = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    log_file: options.LogFile = None,
    metrics_file: options.MetricsFile = None,
    debug: options.Debug = False,
) -> None:
    """Segment slides: one Parquet table of nuclei for each.

    Finished slides are left alone, and unfinished ones gone on with. Quarantined ones
    are tried again when they or the settings have changed.
    """
    with exits(debug=debug, as_json=as_json), stoppable():
        settings = settings_from(
            config,
            keep=options.members(keep),
            report=report,
            network=network,
            weights=weights,
            mpp=mpp,
            tissue_mask=tissue_mask,
            device=device,
            workers=workers,
            scheduler=scheduler,
            cluster=cluster,
            slides_at_once=slides_at_once,
            tile_px=tile_px,
            halo_px=halo_px,
            min_area_um2=min_area_um2,
            max_extent_um=max_extent_um,
            min_prob=min_prob,
            max_quarantined=max_quarantined,
        )
        from flows.running import Request  # noqa: PLC0415
        from flows.showing import Shown, run_and_show  # noqa: PLC0415

        request = Request(
            inputs=inputs,
            out=out,
            settings=settings,
            serial=serial,
            retry_quarantined=retry_quarantined,
        )
        shown = Shown(
            as_json=as_json,
            quiet=quiet,
            log_file=log_file,
            metrics_file=metrics_file,
        )
        code = run_and_show(request, shown)
    raise typer.Exit(code)


@app.command()
def plan(  # noqa: PLR0913 - each is an option
    slide: options.Slide,
    *,
    out: options.Out = Path("out"),
    keep: options.Keep = None,
    network: options.Network = None,
    weights: options.Weights = None,
    mpp: options.Mpp = None,
    tissue_mask: options.TissueMask = None,
    device: options.Device = None,
    workers: options.Workers = None,
    scheduler: options.Scheduler = None,
    cluster: options.Cluster = None,
    slides_at_once: options.SlidesAtOnce = None,
    tile_px: options.TilePx = None,
    halo_px: options.HaloPx = None,
    min_area_um2: options.MinArea = None,
    max_extent_um: options.MaxExtent = None,
    min_prob: options.MinProb = None,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Say as JSON what `run` would do to a slide, and what it would cost."""
    with exits(debug=debug, as_json=True):
        settings = settings_from(
            config,
            keep=options.members(keep),
            network=network,
            weights=weights,
            mpp=mpp,
            tissue_mask=tissue_mask,
            device=device,
            workers=workers,
            scheduler=scheduler,
            cluster=cluster,
            slides_at_once=slides_at_once,
            tile_px=tile_px,
            halo_px=halo_px,
            min_area_um2=min_area_um2,
            max_extent_um=max_extent_um,
            min_prob=min_prob,
        )
        from flows.inspecting import plan_as_json  # noqa: PLC0415

        sys.stdout.write(plan_as_json(slide, settings, out) + "\n")


INSPECT_EXAMPLES = """
Examples:

`segpipe inspect results`

`segpipe inspect results slide-1`

`segpipe inspect results slide-1 --weights new.safetensors`: what would run again, why
"""


@app.command(epilog=INSPECT_EXAMPLES)
def inspect(  # noqa: PLR0913 - each is an option
    folder: options.ResultFolder,
    slide_id: Annotated[str | None, typer.Argument(metavar="[SLIDE_ID]")] = None,
    *,
    keep: options.Keep = None,
    network: options.Network = None,
    weights: options.Weights = None,
    mpp: options.Mpp = None,
    device: options.Device = None,
    min_area_um2: options.MinArea = None,
    max_extent_um: options.MaxExtent = None,
    min_prob: options.MinProb = None,
    tile_px: options.TilePx = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Say what is done in a result folder: of all slides, or of one in detail.

    Of one slide also what a run now would do again and why: with the settings of the
    last run, but for those that are given here.
    """
    with exits(debug=debug, as_json=as_json):
        from flows.inspecting import inspect_run, inspect_slide  # noqa: PLC0415

        def choose(last: Settings) -> Settings:
            return settings_from(
                config,
                base=last,
                keep=options.members(keep),
                network=network,
                weights=weights,
                mpp=mpp,
                device=device,
                min_area_um2=min_area_um2,
                max_extent_um=max_extent_um,
                min_prob=min_prob,
                tile_px=tile_px,
            )

        if slide_id is None:
            inspect_run(folder, as_json=as_json)
        else:
            inspect_slide(folder, slide_id, choose, as_json=as_json)


@app.command()
def gc(
    folder: options.ResultFolder,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove it, instead of only showing it.")
    ] = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Show what nothing in a result folder refers to any more, and remove it.

    Slides that a run works on are left alone, and so is what isn't of segpipe. What an
    unfinished slide goes on from stays.
    """
    with exits(debug=debug, as_json=as_json):
        from flows.collecting import collect  # noqa: PLC0415

        collect(folder, removing=yes, as_json=as_json)


app.command(epilog=formats.EXAMPLES)(formats.export)


TRAIN_EXAMPLES = """
Examples:

`segpipe train --list`

`segpipe train my-recipe.toml --manifest mine/manifest.csv --out runs/mine`

`segpipe train my-recipe.toml --out runs/mine --steps 200`

Writes the weights with their card, log.csv and checkpoint.pt; the same command again
goes on where it stopped.
"""


@app.command(epilog=TRAIN_EXAMPLES)
def train(  # noqa: PLR0913 - each is an option
    recipe: options.Recipe,
    *,
    out: options.Out,
    manifest: options.TrainOn = None,
    steps: options.Steps = None,
    device: options.Device = None,
    draw_workers: options.DrawWorkers = None,
    _list: options.ListRecipes = False,
    debug: options.Debug = False,
) -> None:
    """Train a network by a recipe, or go on where an earlier call stopped."""
    with exits(debug=debug):
        from flows.training import train_by_recipe  # noqa: PLC0415
        from segpipe.training.recipe import read_recipe  # noqa: PLC0415

        path = train_by_recipe(
            read_recipe(recipe, manifest=manifest, steps=steps),
            out,
            device or "auto",
            draw_workers=draw_workers,
        )
        sys.stdout.write(f"{path}\n")


app.command(epilog=comparing.EXAMPLES)(comparing.compare)
app.command(epilog=converting.EXAMPLE)(converting.convert)
app.command(epilog=evaluating.EXAMPLES)(evaluating.evaluate)
app.command(epilog=calibrating.EXAMPLE)(calibrating.calibrate)
app.command(epilog=serving.EXAMPLES)(serving.serve)


@app.command()
def networks(*, as_json: options.AsJson = False) -> None:
    """List the networks."""
    with exits(as_json=as_json):
        from flows.listing import list_networks  # noqa: PLC0415

        list_networks(as_json=as_json)


@app.command()
def readers(*, as_json: options.AsJson = False) -> None:
    """List the slide formats and who reads them."""
    with exits(as_json=as_json):
        from flows.listing import list_readers  # noqa: PLC0415

        list_readers(as_json=as_json)


def main() -> None:
    """Run the command line; the console script ``segpipe``."""
    try:
        app()
    except SystemExit as end:
        if end.code in {STOPPED, TERMINATED}:
            sys.stdout.flush()
            os._exit(
                int(end.code)
            )  # half-started clusters would take a minute to unwind
        raise


if __name__ == "__main__":
    main()
