"""Why stages of a slide would run again: differences of keys, said in words.

A key is a hash, so what went into the keys of the last run is written down beside its
receipts. A plan made now is compared with that, and with the receipts that are there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from segpipe.stages._stage import closed_stages
from segpipe.stages.finished import read_row, standing_row
from segpipe.stages.keeping import KEPT_WITH
from segpipe.stages.keys import ingredients
from segpipe.stages.needing import to_run
from segpipe.stages.path import STAGES
from segpipe.stages.plan import Plan
from segpipe.stages.stored import ledger_of
from segpipe.stores.durable import write_text
from segpipe.stores.ledger import Ledger

WORDS = {
    "fingerprint": "content of the slide",
    "weights": "weights sha256",
    "windows": "windows with tissue",
    "image_windows": "windows around tissue",
    "schema": "schema of the table",
    "slide": "slide id",
    "types": "nucleus types",
}
"""What ingredients are called where their own name doesn't say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A stage's key in the last run, and what went into it."""

    key: str
    """The key."""
    ingredients: Mapping[str, str]
    """By name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutlook:
    """What a run now would do in a stage."""

    stage: str
    key: str
    """The key its results would have."""
    would_run: bool
    """Whether it has anything to do."""
    n_units: int
    """Units it would work on."""
    reasons: tuple[str, ...]
    """Why, in words; empty if it wouldn't run."""


def note_ingredients(plan: Plan) -> None:
    """Write down what goes into the keys of a plan, if that isn't there already."""
    said = ingredients(plan)
    record = {
        stage: {"key": key, "ingredients": said[stage]}
        for stage, key in plan.keys.items()
    }
    text = json.dumps(record, indent=1)
    path = ledger_of(plan).ingredients_path
    if not path.exists() or path.read_text() != text:
        write_text(path, text)


def read_records(ledger: Ledger) -> dict[str, KeyRecord]:
    """Return what went into the keys of the last run, by stage; unreadable is none."""
    try:
        stages = json.loads(ledger.ingredients_path.read_text())
        return {stage: KeyRecord(**record) for stage, record in stages.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def is_done(plan: Plan) -> bool:
    """Whether a run of this plan would find everything done."""
    row = standing_row(ledger_of(plan), plan.result_key, plan.settings.keep)
    return row is not None


def outlook(plan: Plan) -> tuple[StageOutlook, ...]:
    """Say what a run of this plan would do in each stage, and why."""
    ledger = ledger_of(plan)
    running = () if is_done(plan) else to_run(closed_stages(ledger, plan.keys))
    records, said = read_records(ledger), ingredients(plan)
    row = read_row(ledger)
    told = []
    changed: list[str] = []
    for stage in STAGES:
        name, key = stage.name, plan.keys[stage.name]
        record = records.get(name)
        why: list[str] = []
        if record is not None and record.key != key:
            why = differences(record.ingredients, said[name])
            why += [f"follows {changed[-1]}"] if changed else []
            why = why or ["its key is made otherwise in this version"]
            changed.append(name)
        units = set(stage.units(plan))
        done = ledger.done_units(name, key) & units
        if not why:
            why = [_unfinished(name, len(done), len(units), was_done=row is not None)]
        runs = name in running
        told.append(
            StageOutlook(
                stage=name,
                key=key,
                would_run=runs,
                n_units=len(units) - len(done) if runs else 0,
                reasons=tuple(why) if runs else (),
            )
        )
    return tuple(told)


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say what differs between the ingredients of two keys."""
    names = [*before, *(name for name in now if name not in before)]
    return [
        f"{WORDS.get(name, name)} {_short(before.get(name))} → {_short(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _short(value: str | None) -> str:
    """Return a value without quotes, hashes by their first letters."""
    if value is None:
        return "none"
    plain = value.strip('"')
    is_hash = len(plain) >= 32 and set(plain) <= set("0123456789abcdef")
    return f"{plain[:10]}.." if is_hash else plain


def _unfinished(stage: str, n_done: int, n_units: int, *, was_done: bool) -> str:
    if n_done:
        return f"{n_done} of {n_units} units are done"
    if not was_done:
        return "not done yet"
    name = KEPT_WITH[stage]
    kept = f"; --keep {name} keeps it" if name else ""
    return f"what it wrote was dropped when the slide was finished{kept}"
