"""What a stage is, and the one way to run it: what the ledger has is skipped.

A stage turns *units* (windows, tiles) into written arrays, a batch of units at a time,
in any order and in any process. The driver prepares, maps, and finishes; a worker
writes its units, then their receipt. Killed anywhere, it goes on where receipts end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol, TypeVar

from segpipe.errors import StageFailed
from segpipe.stages.events import BatchDone, Listener, StageDone, StageStarted, silent
from segpipe.stages.outputs import naming_full_disk
from segpipe.stages.plan import Plan
from segpipe.stages.repairing import revoking_damaged
from segpipe.stages.stored import ledger_of
from segpipe.stores.ledger import Receipt

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

    Parameters
    ----------
    stage, plan
        What to run on what.
    map_
        Executor of the batches: the builtin, or a cluster's.
    listener
        Told of the start, of each batch and of the end.

    Raises
    ------
    StageFailed
        If units are left without a receipt when the mapper has ended.
    """
    started = time.perf_counter()
    ledger = ledger_of(plan)
    key = plan.keys[stage.name]
    units = stage.units(plan)
    if ledger.is_closed(stage.name, key):
        listener(StageDone(plan.slide.id, stage.name, len(units), 0.0, resumed=True))
        return ledger.seconds(stage.name, key)
    ledger.open(stage.name, key)
    done = ledger.done_units(stage.name, key)
    if not done:
        with naming_full_disk(plan.out), revoking_damaged(plan):
            stage.prepare(plan)
    todo = [unit for unit in units if unit not in done]
    listener(
        StageStarted(plan.slide.id, stage.name, len(units), len(units) - len(todo))
    )
    work = partial(work_batch, stage, str(ledger.plan_path))
    for receipt in map_(work, batches(todo, stage.batch_units)):
        listener(BatchDone(plan.slide.id, stage.name, receipt))
    _check_complete(stage, units, ledger.done_units(stage.name, key))
    with naming_full_disk(plan.out), revoking_damaged(plan):
        stage.finish(plan)
    seconds = time.perf_counter() - started
    ledger.close(stage.name, key, seconds=seconds)
    listener(StageDone(plan.slide.id, stage.name, len(units), seconds, resumed=False))
    return seconds


def batches(units: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Cut units into runs of ``size``; the last may be shorter."""
    units = tuple(units)
    return (units[i : i + size] for i in range(0, len(units), size))


def work_batch(stage: Stage, plan_path: str, units: tuple[int, ...]) -> Receipt:
    """Do a batch in whatever process this is, and leave its receipt.

    The plan is read from the ledger rather than shipped, once a process.
    """
    plan = _plan_at(plan_path, Path(plan_path).stat().st_mtime_ns)
    started = time.perf_counter()
    ledger = ledger_of(plan)
    with naming_full_disk(plan.out), revoking_damaged(plan):
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
