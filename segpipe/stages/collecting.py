"""What nothing in a result folder refers to any more, and its removal.

Only what segpipe writes is looked at, by its names. A slide that is held is left alone;
removal holds each slide meanwhile. Links are never followed nor removed, so nothing
outside the folder is touched.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from segpipe.errors import OutputNotOurs, StoreDamaged
from segpipe.stages.finished import read_plan, read_row
from segpipe.stages.naming import is_slide_id
from segpipe.stages.wasting import TEMPORARY, VOUCHED_BY, Found, unreferenced
from segpipe.stores.layout import Layout
from segpipe.stores.lease_files import newest, outdated
from segpipe.stores.leases import DEFAULT_TIMING, LeaseTiming, is_free
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import read_slides

YOUNG_S = 3600.0
"""A temporary file of no slide that is younger may be somebody's."""
STRANGER = "no plan, row, table or quarantine is of this slide"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """Something that may go."""

    path: Path
    """File or folder."""
    why: str
    """Why nothing needs it."""
    n_bytes: int
    """Its size, with all it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What was found."""

    waste: tuple[Waste, ...]
    """What may go, or went."""
    in_use: tuple[str, ...]
    """Slides that are held, and were left alone."""


def find_waste(layout: Layout, timing: LeaseTiming = DEFAULT_TIMING) -> Collected:
    """Find what nothing refers to; nothing is changed.

    A slide that another host left without giving it back is watched for as long as the
    timing says.
    """

    def look(ledger: Ledger, known: frozenset[str]) -> list[Waste]:
        lease = newest(ledger.folder)
        if lease is not None and not is_free(lease, timing):
            raise OutputNotOurs(ledger.slide_id)
        return list(_waste_of(ledger, known))

    return _each(layout, look)


def remove_waste(layout: Layout, timing: LeaseTiming = DEFAULT_TIMING) -> Collected:
    """Remove what nothing refers to, holding each slide meanwhile; say what went."""

    def clear(ledger: Ledger, known: frozenset[str]) -> list[Waste]:
        found = list(_waste_of(ledger, known))
        if found:
            with ledger.held(timing):
                for item in _waste_of(ledger, known):
                    remove(item.path, layout)
        return [item for item in found if not item.path.exists()]

    collected = _each(layout, clear)
    for item in collected.waste:
        remove(item.path, layout)  # of no slide; the rest is gone
    return collected


def remove(path: Path, layout: Layout) -> None:
    """Remove a file or folder inside the result folder.

    Raises
    ------
    OutputNotOurs
        If it lies outside, by its path or through a link.
    """
    if path.is_symlink() or not _is_inside(path, layout.out):
        message = f"{path} leads out of {layout.out}; it is left alone."
        raise OutputNotOurs(message)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_inside(path: Path, out: Path) -> bool:
    parent = path.parent.resolve()
    return parent == path.parent and parent.is_relative_to(out)


def _each(
    layout: Layout, look: Callable[[Ledger, frozenset[str]], list[Waste]]
) -> Collected:
    waste: list[Waste] = []
    in_use: list[str] = []
    known = _known(layout)
    for slide_id in _slide_ids(layout):
        try:
            waste += look(Ledger(layout, slide_id), known)
        except OutputNotOurs:
            in_use.append(slide_id)
    if not in_use:
        waste += _temporary_of_no_slide(layout)
    return Collected(waste=tuple(waste), in_use=tuple(in_use))


def _known(layout: Layout) -> frozenset[str]:
    """Return the slides that something is known of beside their ledger."""
    quarantined = {path.stem for path in _entries(layout.quarantine("*").parent)}
    try:
        rows = read_slides(layout.slides)
    except StoreDamaged:
        rows = []
    return frozenset(quarantined | {row.slide_id for row in rows})


def _slide_ids(layout: Layout) -> list[str]:
    """Return every slide that something lies of; names that aren't ids are foreign."""
    stores = _entries(layout.store("*").parent)
    reports = _entries(layout.report("*").parent)
    names = {
        *(path.name for path in _entries(layout.ledger_root) if path.is_dir()),
        *(path.stem for path in stores if path.suffix == ".zarr"),
        *(
            path.name.removeprefix("slide_id=")
            for path in _entries(layout.table("*").parents[1])
        ),
        *(path.stem for path in reports if path.suffix in {".html", ".png"}),
    }
    return sorted(name for name in names if is_slide_id(name))


def _waste_of(ledger: Ledger, known: frozenset[str]) -> Iterator[Waste]:
    """Yield what may go of a slide that nobody else holds; receipts before arrays."""
    layout, slide_id = ledger.layout, ledger.slide_id
    folders = (layout.table(slide_id).parent, layout.store(slide_id), ledger.folder)
    if not (ledger.plan_path.exists() or ledger.row_path.exists()):
        if slide_id not in known and not layout.table(slide_id).exists():
            reports = (layout.report(slide_id), layout.overlay(slide_id))
            yield from _all(layout, (*reports, *folders), STRANGER)
        return  # nor does a table go: that is a result, its ledger be gone or not
    for lease in outdated(ledger.folder):
        yield _waste(lease, "of an earlier holder")
    wasted = _unreferenced(ledger)
    for path, why in wasted.items():
        yield _waste(path, why)
    for folder in folders:
        for path in _temporary(folder):
            if wasted.keys().isdisjoint(path.parents):
                yield _waste(path, "left half written")


def _unreferenced(ledger: Ledger) -> dict[Path, str]:
    """Return receipts and arrays that the last plan doesn't refer to, with reasons."""
    plan, row = read_plan(ledger), read_row(ledger)
    if plan is None:
        return {}
    in_store = _entries(ledger.layout.store(ledger.slide_id))
    paths = {path.name: path for path in _entries(ledger.folder)}
    paths |= {path.name: path for path in in_store if path.name in VOUCHED_BY}
    found = Found(
        names=paths.keys(),
        keys=plan.keys,
        keep=plan.settings.keep,
        is_finished=row is not None and row.result_key == plan.result_key,
    )
    return {paths[name]: why for name, why in unreferenced(found).items()}


def _all(layout: Layout, paths: tuple[Path, ...], why: str) -> Iterator[Waste]:
    for path in paths:
        if not path.is_symlink() and path.exists() and _is_inside(path, layout.out):
            yield _waste(path, why)


def _temporary_of_no_slide(layout: Layout) -> Iterator[Waste]:
    """Yield what processes that have ended left half written beside the slides."""
    folders = (
        layout.out,
        layout.ledger_root,
        layout.quarantine("*").parent,
        layout.report("*").parent,
    )
    for folder in folders:
        for path in _entries(folder):
            if TEMPORARY.search(path.name) and _is_left(path):
                yield _waste(path, "left half written")


def _is_left(path: Path) -> bool:
    """Whether nobody writes a temporary file, which has its writer's pid in its name.

    The writer may be on another host; then its age tells, if the clocks do.
    """
    pid = path.name.split(".")[-2]
    is_young = time.time() - path.lstat().st_mtime < YOUNG_S
    return not is_young and not (pid.isdigit() and psutil.pid_exists(int(pid)))


def _temporary(folder: Path) -> Iterator[Path]:
    """Yield temporary files at any depth."""
    for path in _entries(folder):
        if path.is_dir():
            yield from _temporary(path)
        elif TEMPORARY.search(path.name):
            yield path


def _entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, without links; nothing if it is one or missing."""
    try:
        if folder.resolve() != folder:
            return []
        with os.scandir(folder) as entries:
            return sorted(folder / e.name for e in entries if not e.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _waste(path: Path, why: str) -> Waste:
    return Waste(path=path, why=why, n_bytes=_size(path))


def _size(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(_size(entry) for entry in path.iterdir())
    return path.lstat().st_size
