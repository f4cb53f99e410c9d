"""What a plan costs in memory and disk: sums one can do by hand, before anything runs.

Memory per worker doesn't grow with the slide: it is that of one batch of windows or of
one tile. Disk does, and is that of the arrays as if nothing compressed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from segpipe.config import Settings
from segpipe.errors import BudgetExceeded, DiskFull
from segpipe.networks import network as find_network
from segpipe.stages.memory import HeldMemory, free_memory, held_memory
from segpipe.stages.plan import Canvas, NetworkRef, Plan, Price
from segpipe.stages.tissue_mask import MASK_MPP, MOST_PIXELS
from segpipe.stitching.blocks import Blocks
from segpipe.stores.layout import Layout
from segpipe.stores.lease_files import newest
from segpipe.stores.leases import judge
from segpipe.tables.parquet import ROW_GROUP_ROWS
from segpipe.tiling.grid import TileGrid

RUNTIME_BYTES = 700 * 2**20
"""A process with torch, numba and zarr imported and compiled."""
DECODING_BYTES_PER_PX = 48
"""Maps, filters, costs, queue and labels while a tile is decoded."""
MEASURING_BYTES_PER_PX = 24
"""Labels, pixels and maps while a tile is measured."""
FLOOR_BYTES = 64 * 2**20
"""What stays free on the disk of the results, for what others write there."""
BATCH_BYTES_PER_PX = 24
"""A batch is up to eight windows of three bytes, or four tiles of labels."""
LOOKING_BYTES_PER_PX = 72
"""Pixels of the overview, and what they are turned into while tissue is looked for."""
NUCLEI_PER_PX = 1 / 400
"""The densest tissue, at 0.5 um per pixel."""
BYTES_PER_NUCLEUS = 600
"""A row with its contour."""
INDEX_BYTES_PER_NUCLEUS = 200
"""Its records in its tiles and among the slide's."""
JOINING_BYTES_PER_NUCLEUS = 700
"""A nucleus while a block of tiles is joined: records, twice, and pairs."""
CLAIM_BYTES = 160
"""A claim on disk: 18 bytes, a bit per pixel of its box, and guests besides owners."""
CLAIM_FILE_BYTES = 8192
"""Least that a window's claims take on disk."""
DECIDING_BYTES_PER_CLAIM = 4096
"""A claim while it is decided on: a byte, a depth and a name per pixel of its box."""


def price(
    canvas: Canvas, network: NetworkRef, settings: Settings, n_windows: int
) -> Price:
    """Price a plan in bytes; upper bounds, not estimates."""
    # A CPU takes one window at a time.
    per_px = find_network(network.name).activation_bytes_per_px
    window_bytes = network.input_px**2 * per_px
    decoded_px = (settings.tile_px + 2 * (network.support_px + 1)) ** 2
    margin_px = 2 * canvas.px(settings.max_extent_um)
    measured_px = (settings.tile_px + margin_px) ** 2
    tile_bytes = max(
        decoded_px * DECODING_BYTES_PER_PX + _deciding_bytes(network, settings),
        measured_px * MEASURING_BYTES_PER_PX,
    )
    tissue_px = n_windows * network.output_px**2
    answer_bytes = _answer_bytes(network, n_windows)
    rows_bytes = int(tissue_px * NUCLEI_PER_PX) * BYTES_PER_NUCLEUS
    labels_bytes = tissue_px // 8
    index_bytes = int(tissue_px * NUCLEI_PER_PX) * INDEX_BYTES_PER_NUCLEUS
    kept = {
        "image": 3 * tissue_px,
        "maps": answer_bytes + labels_bytes + index_bytes,
    }
    always = labels_bytes + rows_bytes
    return Price(
        worker_bytes=RUNTIME_BYTES + max(window_bytes, tile_bytes),
        driver_bytes=RUNTIME_BYTES
        + max(_joining_bytes(canvas, settings), _looking_bytes(canvas)),
        disk_bytes=sum(kept.values()) + always + rows_bytes,
        kept_bytes=always + sum(kept[name] for name in settings.keep),
    )


def _answer_bytes(network: NetworkRef, n_windows: int) -> int:
    """Return what the network's answers take on disk: maps, or claims."""
    tissue_px = n_windows * network.output_px**2
    if network.detects:
        n_claims = int(tissue_px * NUCLEI_PER_PX)
        return n_claims * CLAIM_BYTES + n_windows * CLAIM_FILE_BYTES
    return sum(head.n_channels for head in network.heads) * tissue_px


def _deciding_bytes(network: NetworkRef, settings: Settings) -> int:
    """Return what the claims around a tile take while it is painted; none for maps."""
    if not network.detects:
        return 0
    side_px = settings.tile_px + 2 * (network.claims_px + network.output_px)
    return int(side_px**2 * NUCLEI_PER_PX) * DECIDING_BYTES_PER_CLAIM


def _joining_bytes(canvas: Canvas, settings: Settings) -> int:
    """Return what the driver takes for a block of tiles, or for rows of the table.

    Of these there are a row group that is being sorted, twice, and one to be written.
    """
    tiles = TileGrid(shape=canvas.shape, tile_px=settings.tile_px)
    reach_px = canvas.px(settings.max_extent_um)
    block_px = Blocks(tiles=tiles, reach_px=reach_px).grid.tile_px
    window_px = (block_px + 2 * (reach_px + settings.tile_px)) ** 2
    joined = int(min(window_px, canvas.box.area) * NUCLEI_PER_PX)
    held = min(3 * ROW_GROUP_ROWS, int(canvas.box.area * NUCLEI_PER_PX))
    return max(joined * JOINING_BYTES_PER_NUCLEUS, held * BYTES_PER_NUCLEUS)


def _looking_bytes(canvas: Canvas) -> int:
    """Return what finding the tissue takes."""
    seen_px = canvas.box.area * (canvas.mpp / MASK_MPP[0]) ** 2
    return int(min(seen_px, MOST_PIXELS)) * LOOKING_BYTES_PER_PX


def check_budget(plan: Plan) -> None:
    """Refuse a plan that doesn't fit.

    Raises
    ------
    BudgetExceeded
        With what is needed, what there is, and what would make it fit.
    """
    _check_memory(plan)
    _check_disk(plan)


def check_room(plan: Plan) -> None:
    """Stop a run before it fills the disk; asked before each batch.

    Raises
    ------
    DiskFull
        If less is free than ``FLOOR_BYTES``, or than one batch of each worker may take.
    """
    n_workers = plan.settings.workers or default_workers()
    batch_bytes = BATCH_BYTES_PER_PX * max(
        plan.settings.tile_px**2, plan.network.output_px**2
    )
    floor = max(FLOOR_BYTES, n_workers * batch_bytes)
    free = shutil.disk_usage(plan.out).free
    if free < floor:
        message = (
            f"Stopped before the disk is full: {plan.out} has {_gib(free)} free, and "
            f"{_gib(floor)} must stay free while slides are worked on. Make room and "
            "run the same command again; what is finished is kept."
        )
        raise DiskFull(message)


def default_workers() -> int:
    """Return how many workers this machine has cores for."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_memory(plan: Plan) -> None:
    """Refuse a plan whose processes can't get what they don't hold already.

    Planning may come when this run's workers are up: what they have is not free, and
    is not asked for again.
    """
    if plan.settings.scheduler is not None or plan.settings.cluster is not None:
        return  # the workers' memory is elsewhere
    n_workers = plan.settings.workers or default_workers()
    # What the driver holds of each other slide that is under way, as if all were like
    # this one.
    others = plan.settings.slides_at_once - 1
    driver_bytes = plan.price.driver_bytes + others * (
        plan.price.driver_bytes - RUNTIME_BYTES
    )
    worker_bytes = plan.price.worker_bytes
    needed = n_workers * worker_bytes + driver_bytes
    held = held_of_needed(held_memory(), driver_bytes, worker_bytes, n_workers)
    free = free_memory()
    if needed - held > free.n_bytes:
        limit = f" under the limit in {free.limit}" if free.limit else ""
        message = (
            f"{n_workers} workers need {_gib(worker_bytes)} each and the driver "
            f"{_gib(driver_bytes)}, {_gib(needed)} together. They hold {_gib(held)} "
            f"of it; {_gib(free.n_bytes)} are free{limit}. Use fewer --workers, or a "
            f"--tile-px below {plan.settings.tile_px}."
        )
        raise BudgetExceeded(message)


def held_of_needed(
    held: HeldMemory, driver_bytes: int, worker_bytes: int, n_workers: int
) -> int:
    """Return how much of what a run needs its processes hold, in bytes.

    What one has beyond its need, a notebook its pictures, helps no other.
    """
    workers = held.children_bytes[:n_workers]
    of_workers = sum(min(each, worker_bytes) for each in workers)
    return min(held.own_bytes, driver_bytes) + of_workers


def _check_disk(plan: Plan) -> None:
    """Refuse a plan that may fill the disk, less what is written of it already.

    Other slides that are under way are taken to be like this one.
    """
    folder = _existing(plan.out)
    free = shutil.disk_usage(folder).free
    each, at_once = plan.price.disk_bytes, plan.settings.slides_at_once
    needed = at_once * each
    if needed <= free:
        return
    written = _written_bytes(plan)
    if needed - written > free:
        alike = f", and so may each of {at_once} at once" if at_once > 1 else ""
        there = f" {_gib(written)} are written." if written else ""
        fewer = " use fewer --slides-at-once," if at_once > 1 else ""
        message = (
            f"Slide {plan.slide.id} needs up to {_gib(each)} on disk while it is "
            f"worked on{alike}.{there} {folder} has {_gib(free)} free. Free some,"
            f"{fewer} or use an --out on another disk."
        )
        raise BudgetExceeded(message)


def _written_bytes(plan: Plan) -> int:
    """Return how much of what slides under way need, this one too, is on disk."""
    layout, most = Layout(plan.out), plan.price.disk_bytes
    others = [name for name in _under_way(layout) if name != plan.slide.id]
    sizes = [min(most, own_bytes(layout, name)) for name in others]
    largest = sorted(sizes, reverse=True)[: plan.settings.slides_at_once - 1]
    return min(most, own_bytes(layout, plan.slide.id)) + sum(largest)


def _under_way(layout: Layout) -> Iterator[str]:
    for folder in layout.ledger_root.glob("*/"):
        lease = newest(folder)
        if lease is not None and judge(lease) != "free":
            yield folder.name


def own_bytes(layout: Layout, slide_id: str) -> int:
    """Return the size of a slide's store and ledger.

    What isn't of the present plan counts too: it makes room for what is.
    """
    n_bytes = 0
    for own in (layout.store(slide_id), layout.ledger(slide_id)):
        for folder, _, names in os.walk(own):
            for name in names:
                with suppress(FileNotFoundError):  # whoever holds it tidies up
                    n_bytes += Path(folder, name).lstat().st_size
    return n_bytes


def _existing(folder: Path) -> Path:
    """Return the folder or the nearest parent that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.2f} GiB"
