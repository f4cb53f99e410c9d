"""What a stage is, and the one way to run it: what the ledger has is skipped.

A stage turns *units* (windows, tiles) into written arrays, a batch of units at a time,
in any order and in any process. The driver prepares, maps, and finishes; a worker
writes its units, then their receipt. Killed anywhere, it goes on where receipts end.

Driver and workers write through the run's turn: from the moment that another run has
the slide, nothing of theirs gets to its place, no array, receipt or table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol, TypeVar

from segpipe.errors import StageFailed
from segpipe.stages.events import (
    BatchDone,
    Listener,
    StageDone,
    StageStarted,
    StageStopped,
    silent,
)
from segpipe.stages.needing import NEEDED_BY, to_run
from segpipe.stages.outputs import naming_full_disk
from segpipe.stages.plan import Plan
from segpipe.stages.pricing import check_room
from segpipe.stages.repairing import revoking_damaged
from segpipe.stages.stored import ledger_of
from segpipe.stores.leases import Hold
from segpipe.stores.ledger import Ledger, Receipt

Item = TypeVar("Item")
Result = TypeVar("Result")


class Mapper(Protocol):
    """Applies a function to items, like the builtin ``map``; results in any order."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterable[Result]: ...


def nothing(plan: Plan) -> None:
    """Prepare or finish a stage that needs no such step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the path from slide to table."""

    name: str
    """``tile``, ``predict``, ``label``, ``stitch`` or ``measure``."""
    version: int
    """Raised when the stage's results change; part of its key."""
    units: Callable[[Plan], tuple[int, ...]]
    """Windows or tiles to work on."""
    batch_units: int
    """Units in one batch: one Dask future, one receipt."""
    work: Callable[[Plan, tuple[int, ...]], int]
    """Read, compute, write some units; returns a count worth reporting. Idempotent."""
    prepare: Callable[[Plan], None] = nothing
    """Driver's step before any unit: arrays to write into. Idempotent."""
    finish: Callable[[Plan], None] = nothing
    """Driver's step after all units. Idempotent."""
    on_device: bool = False
    """Whether its batches want the GPU where there is one."""


def run_stage(
    stage: Stage, plan: Plan, *, map_: Mapper = map, listener: Listener = silent
) -> float:
    """Bring a stage to its end, and return the seconds it took.

    A stage whose results nobody needs any more is left as it is.

    Parameters
    ----------
    stage, plan
        What to run on what; the slide must be held.
    map_
        Executor of the batches: the builtin, or a cluster's.
    listener
        Told of the start, of each batch and of the end.

    Raises
    ------
    StageFailed
        If units are left without a receipt when the mapper has ended.
    OutputNotOurs
        If the slide isn't held by this run, or no more.
    """
    started = time.perf_counter()
    try:
        return _run(stage, plan, map_, listener)
    except BaseException as error:
        seconds = time.perf_counter() - started
        listener(
            StageStopped(
                slide_id=plan.slide.id, stage=stage.name, seconds=seconds, error=error
            )
        )
        raise


def _run(stage: Stage, plan: Plan, map_: Mapper, listener: Listener) -> float:
    started = time.perf_counter()
    ledger = ledger_of(plan)
    key = plan.keys[stage.name]
    units = stage.units(plan)
    if stage.name not in to_run(closed_stages(ledger, plan.keys)):
        listener(StageDone(plan.slide.id, stage.name, len(units), 0.0, resumed=True))
        is_closed = ledger.is_closed(stage.name, key)
        return ledger.seconds(stage.name, key) if is_closed else 0.0
    hold = ledger.hold()
    with hold.writing():
        ledger.open(stage.name, key)
        _work_all(stage, plan, hold, map_, listener)
        with naming_full_disk(plan.out), revoking_damaged(plan, hold):
            stage.finish(plan)
        seconds = time.perf_counter() - started
        ledger.close(stage.name, key, seconds=seconds)
    listener(StageDone(plan.slide.id, stage.name, len(units), seconds, resumed=False))
    return seconds


def _work_all(
    stage: Stage, plan: Plan, hold: Hold, map_: Mapper, listener: Listener
) -> None:
    """Do the batches that have no receipt."""
    ledger, key, units = ledger_of(plan), plan.keys[stage.name], stage.units(plan)
    receipts = ledger.receipts(stage.name, key)
    done = {unit for receipt in receipts for unit in receipt.units}
    if not done:
        with naming_full_disk(plan.out), revoking_damaged(plan, hold):
            stage.prepare(plan)
    todo = [unit for unit in units if unit not in done]
    n_done, count = len(units) - len(todo), sum(receipt.count for receipt in receipts)
    listener(StageStarted(plan.slide.id, stage.name, len(units), n_done, count))
    work = partial(work_batch, stage, str(ledger.plan_path), hold)
    for receipt in map_(work, batches(todo, stage.batch_units)):
        listener(BatchDone(plan.slide.id, stage.name, receipt))
    _check_complete(stage, units, ledger.done_units(stage.name, key))


def batches(units: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Cut units into runs of ``size``; the last may be shorter."""
    units = tuple(units)
    return (units[i : i + size] for i in range(0, len(units), size))


def closed_stages(ledger: Ledger, keys: Mapping[str, str]) -> frozenset[str]:
    """Return the stages whose results stand under these keys."""
    return frozenset(
        stage for stage in NEEDED_BY if ledger.is_closed(stage, keys[stage])
    )


def work_batch(
    stage: Stage, plan_path: str, hold: Hold, units: tuple[int, ...]
) -> Receipt:
    """Do a batch in whatever process this is, and leave its receipt.

    The plan is read from the ledger rather than shipped, once a process.

    Raises
    ------
    OutputNotOurs
        If the slide is no longer held by the run that the batch is of.
    """
    hold.check()
    plan = _plan_at(plan_path, Path(plan_path).stat().st_mtime_ns)
    started = time.perf_counter()
    ledger = ledger_of(plan)
    with (
        hold.writing(),
        naming_full_disk(plan.out),
        revoking_damaged(plan, hold),
    ):
        check_room(plan)
        count = stage.work(plan, units)
        seconds = time.perf_counter() - started
        receipt = Receipt(units=units, count=count, seconds=seconds)
        ledger.write(stage.name, plan.keys[stage.name], receipt)
    return receipt


@lru_cache(maxsize=4)
def _plan_at(path: str, _changed_ns: int) -> Plan:
    return Plan.model_validate_json(Path(path).read_text())


def _check_complete(stage: Stage, units: tuple[int, ...], done: frozenset[int]) -> None:
    missing = [unit for unit in units if unit not in done]
    if missing:
        message = (
            f"Stage {stage.name} ended with {len(missing)} of {len(units)} units not "
            f"done, the first {missing[:5]}. Run again: finished units are kept."
        )
        raise StageFailed(message)
