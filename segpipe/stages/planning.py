"""Deciding everything about a slide before anything runs; every refusal is here.

Planning opens the slide, looks at its tissue, lays the grids, prices memory and disk,
and hashes what each stage depends on. It writes nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from segpipe.config import Settings, SlideRef, mask_of
from segpipe.errors import MppImplausible, MppMissing, NoTissue
from segpipe.networks import (
    AnyNetwork,
    Card,
    Detector,
    card_of,
    network,
    ownership_of,
    weights_file,
)
from segpipe.slides import open_slide, reader_of, slide_fingerprint
from segpipe.slides._protocol import Slide
from segpipe.stages.canvas import choose_canvas
from segpipe.stages.devices import device_of
from segpipe.stages.grounds import (
    choices_of,
    content_of,
    model_digest,
    signature_of,
)
from segpipe.stages.keys import result_key, stage_keys
from segpipe.stages.plan import Grounds, HeadRef, NetworkRef, Plan
from segpipe.stages.pricing import check_budget, price
from segpipe.stages.tissue_mask import find_tissue, select_windows
from segpipe.tiling.grid import TileGrid

PLAUSIBLE_MPP = (0.02, 20.0)
"""Micrometres per level-0 pixel; no slide scanner is finer or coarser."""


def plan_slide(slide: SlideRef, settings: Settings, out: Path) -> Plan:
    """Decide everything about a slide.

    Parameters
    ----------
    slide
        The slide.
    settings
        What the user chose.
    out
        Result folder; need not exist.

    Raises
    ------
    PlanRefused
        If the plan can't be carried out: resolution, tissue, memory, disk.
    SlideError
        If the slide can't be opened.
    SettingsError, WeightsError
        If the network or its weights can't be had.
    """
    plan = decided(slide, settings, out)
    check_budget(plan)
    return plan


def decided(slide: SlideRef, settings: Settings, out: Path) -> Plan:
    """Return the plan of a slide, be there memory and disk for it or not.

    Parameters and errors are those of `plan_slide`.
    """
    ref = network_ref(settings)
    card = card_of(_weights_path(settings))
    device = device_of(settings)
    given = mask_of(slide, settings)
    path = slide.path.resolve()
    signature = signature_of(slide, settings)
    fingerprint = slide_fingerprint(path)
    grounds = Grounds(
        path=path,
        signature=signature,
        content=content_of(slide, settings, fingerprint),
        choices=choices_of(slide, settings, model_digest(ref, card.mpp, device)),
    )
    with open_slide(path) as opened:
        mpp = slide_mpp(opened, slide.mpp or settings.mpp)
        canvas = choose_canvas(opened.levels, mpp, card.mpp)
        tissue = find_tissue(opened, mpp, given)
        shape, n_levels = opened.levels[0].shape, len(opened.levels)
    windows = TileGrid(shape=canvas.shape, tile_px=ref.output_px)
    tiles = TileGrid(shape=canvas.shape, tile_px=settings.tile_px)
    tissue_windows = select_windows(tissue, canvas, windows)
    if not tissue_windows:
        message = f"The tissue of {path} lies outside its pixels; check the mask."
        raise NoTissue(message)
    draft = Plan(
        slide=slide.model_copy(update={"path": path}),
        reader=reader_of(path).name,
        fingerprint=fingerprint,
        grounds=grounds,
        slide_mpp=mpp,
        slide_shape=shape,
        n_levels=n_levels,
        out=out.resolve(),
        settings=settings,
        device=device,
        network=ref,
        canvas=canvas,
        tissue_given=None if given is None else given.resolve(),
        tissue_mm2=tissue.mm2,
        windows=windows,
        tissue_windows=tissue_windows,
        image_windows=_with_neighbours(windows, tissue_windows),
        tiles=tiles,
        tissue_tiles=_touching(tiles, windows, tissue_windows, ref.beyond_px),
        halo_px=max(settings.halo_px, ref.support_px + 1),
        measure_margin_px=canvas.px(settings.max_extent_um),
        price=price(canvas, ref, settings, len(tissue_windows)),
        keys={},
        result_key="",
    )
    return draft.model_copy(
        update={"keys": stage_keys(draft), "result_key": result_key(draft)}
    )


def network_ref(settings: Settings) -> NetworkRef:
    """Return the network the settings ask for, with what its card says."""
    weights = _weights_path(settings)
    card: Card = card_of(weights)
    chosen = network(card.network)
    decoding = chosen.decoding(**card.decoding)
    claims_px = _claims_px(chosen, decoding)
    return NetworkRef(
        name=chosen.name,
        weights=weights.resolve(),
        sha256=card.sha256,
        types=card.types,
        heads=tuple(
            HeadRef(name=head.name, n_channels=head.n_channels, dtype=head.dtype)
            for head in chosen.heads(len(card.types))
        ),
        detects=claims_px > 0,
        input_px=chosen.window.input_px,
        output_px=chosen.window.output_px,
        decoding=asdict(decoding),
        support_px=decoding.support_px,
        claims_px=claims_px,
    )


def _claims_px(chosen: AnyNetwork, decoding: Any) -> int:  # noqa: ANN401 - each network's own dataclass
    """Return how far from a box detections may decide it; 0 if there are maps.

    Raises
    ------
    SettingsError
        If the constants leave no nucleus that a detector's windows see whole.
    """
    if not isinstance(chosen, Detector):
        return 0
    side = chosen.window.output_px
    lattice = TileGrid(shape=(side, side), tile_px=side)
    ownership = ownership_of(lattice, chosen.window, decoding)
    return ownership.support_px + ownership.margin_px


def slide_mpp(slide: Slide, given: float | None) -> float:
    """Return the resolution of level 0, as given or as the file states it.

    Raises
    ------
    MppMissing
        If neither is there.
    MppImplausible
        If it lies outside ``PLAUSIBLE_MPP``.
    """
    mpp = slide.mpp if given is None else given
    if mpp is None:
        found = slide.properties.get("resolution", "it states none")
        message = (
            f"{slide.path} doesn't say its resolution ({found}), so sizes in "
            "micrometres and the network's scale are unknown. Pass it with --mpp "
            "(micrometres per level-0 pixel; a 40x scan has about 0.25, a 20x scan "
            "about 0.5)."
        )
        raise MppMissing(message)
    low, high = PLAUSIBLE_MPP
    if not low <= mpp <= high:
        source = "--mpp" if given is not None else "the file"
        message = (
            f"{slide.path}: {source} says {mpp:g} micrometres per pixel, but slides "
            f"have {low:g} to {high:g}. Pass the true value with --mpp."
        )
        raise MppImplausible(message)
    return mpp


def _weights_path(settings: Settings) -> Path:
    return settings.weights or weights_file(settings.network)


def _with_neighbours(windows: TileGrid, chosen: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chosen windows and the eight around each: what the network sees."""
    near = {
        index
        for window in chosen
        for index in windows.overlapping(windows.core(window).grown(1))
    }
    return tuple(sorted(near))


def _touching(
    tiles: TileGrid, windows: TileGrid, chosen: tuple[int, ...], beyond_px: int
) -> tuple[int, ...]:
    """Return the tiles that share a pixel with a chosen window or its surroundings."""
    near = {
        index
        for window in chosen
        for index in tiles.overlapping(windows.core(window).grown(beyond_px))
    }
    return tuple(sorted(near))
