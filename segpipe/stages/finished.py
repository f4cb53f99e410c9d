"""Which slides are finished, told from what their last run left, without planning.

The last thing that is written of a slide is ``done.json``: what its result rests on. A
slide whose files and whose choices are those is finished. If the files only look other
than then, their content decides; in any other case planning does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from segpipe.config import Frozen, Settings, SlideRef
from segpipe.errors import StoreDamaged
from segpipe.networks import card_of
from segpipe.stages.devices import device_of
from segpipe.stages.grounds import (
    choices_of,
    content_of,
    model_digest,
    signature_of,
    still_hold,
)
from segpipe.stages.keeping import is_kept
from segpipe.stages.plan import Grounds, Plan
from segpipe.stages.planning import network_ref
from segpipe.stages.quarantine import Quarantine, release
from segpipe.stages.stored import NUCLEI_0
from segpipe.stores.durable import write_text
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import SlideRow


class Done(Frozen):
    """That nothing is left to do for a slide."""

    result_key: str
    """Of the row and the table that stand."""
    grounds: Grounds
    """What they rest on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run asks of every slide, found out once a run."""

    layout: Layout
    """Result folder."""
    settings: Settings
    """Choices."""
    model: str
    """Hash of network, weights, device and versions."""

    @classmethod
    def of(cls, settings: Settings, layout: Layout) -> Self:
        """Find out what the settings come to.

        Raises
        ------
        SettingsError, WeightsError
            If the network, its weights or the device can't be had.
        """
        network = network_ref(settings)
        mpp, device = card_of(network.weights).mpp, device_of(settings)
        model = model_digest(network, mpp, device)
        return cls(layout=layout, settings=settings, model=model)

    def grounds(self, slide: SlideRef, *, of_work: bool = False) -> Grounds:
        """Return what a plan would rest on now, the content left out."""
        return Grounds(
            path=slide.path.resolve(),
            signature=signature_of(slide, self.settings),
            content="",
            choices=choices_of(slide, self.settings, self.model, of_work=of_work),
        )


def finished_row(slide: SlideRef, asked: Asked) -> SlideRow | None:
    """Return the row of a slide that is finished; None if only a plan can tell.

    A slide that was moved or touched is noted as it is now. A report that is asked for
    and isn't there takes a plan.
    """
    ledger = Ledger(asked.layout, slide.id)
    done = read_done(ledger)
    if done is None:
        return None
    now = asked.grounds(slide)
    same = still_hold(done.grounds, now)
    if same is None:
        now = now.model_copy(update={"content": content_of(slide, asked.settings)})
        same = now.content == done.grounds.content
    if not (same and now.signature):
        return None
    row = standing_row(ledger, done.result_key, asked.settings.keep)
    lacks_report = asked.settings.report and not has_report(asked.layout, slide.id)
    if row is None or lacks_report:
        return None
    if now.content:
        row = with_path(ledger, row, now.path)
        write_done(ledger, Done(result_key=done.result_key, grounds=now))
    release(asked.layout, slide.id)
    return row


def passed_over(slide: SlideRef, asked: Asked) -> Quarantine | None:
    """Return a slide's quarantine if trying it again would come to the same."""
    record = Quarantine.read(asked.layout, slide.id)
    if record is None or record.grounds is None:
        return None
    same = still_hold(record.grounds, asked.grounds(slide, of_work=True))
    if same is None:
        same = content_of(slide, asked.settings) == record.grounds.content
    return record if same else None


def standing_row(
    ledger: Ledger, result_key: str, keep: Collection[str]
) -> SlideRow | None:
    """Return a slide's row if it is of that result, and all of it stands."""
    row = read_row(ledger)
    if row is None or row.result_key != result_key:
        return None
    return row if is_whole(ledger.layout, ledger.slide_id, keep) else None


def is_whole(layout: Layout, slide_id: str, keep: Collection[str]) -> bool:
    """Whether a slide's table and label map stand, and all that was to be kept."""
    results = (layout.table(slide_id), layout.store(slide_id) / NUCLEI_0)
    kept = all(is_kept(name, layout, slide_id) for name in keep)
    return kept and all(path.exists() for path in results)


def has_report(layout: Layout, slide_id: str) -> bool:
    """Whether the page of a slide is there; its picture is written before."""
    return layout.report(slide_id).exists()


def done_path(ledger: Ledger) -> Path:
    """Return where it stands that a slide is done."""
    return ledger.folder / "done.json"


def read_done(ledger: Ledger) -> Done | None:
    """Return what stands there; None if nothing does, or nothing readable."""
    try:
        return Done.model_validate_json(done_path(ledger).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def read_plan(ledger: Ledger) -> Plan | None:
    """Return the last plan; None if it is missing, damaged or another version's."""
    try:
        return Plan.model_validate_json(ledger.plan_path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def write_done(ledger: Ledger, done: Done) -> None:
    """Note that a slide is done, durably."""
    write_text(done_path(ledger), done.model_dump_json())


def read_row(ledger: Ledger) -> SlideRow | None:
    """Return a slide's row; None if there is none, or a damaged one."""
    try:
        return SlideRow.from_json(ledger.row_path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, StoreDamaged, UnicodeDecodeError):
        return None


def with_path(ledger: Ledger, row: SlideRow, path: Path) -> SlideRow:
    """Return the row of a slide that lies there now, and write it if that is new."""
    if row.path == str(path):
        return row
    moved = replace(row, path=str(path))
    write_text(ledger.row_path, moved.to_json())
    return moved
