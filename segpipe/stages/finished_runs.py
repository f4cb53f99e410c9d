"""Two result folders side by side: which slides both have finished, and which not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segpipe.errors import OutputNotOurs, SlideNotFound, StoreDamaged
from segpipe.stages.naming import is_slide_id
from segpipe.stages.quarantine import Quarantine
from segpipe.stores.layout import Layout
from segpipe.tables.slides import SlideRow, read_slides

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a result folder holds."""

    name: str
    """``A`` or ``B``."""
    layout: Layout
    done: Mapping[str, SlideRow]
    """Rows of finished slides by id."""
    undone: Mapping[str, str]
    """Why the other slides are not finished, by id."""

    @property
    def slide_ids(self) -> frozenset[str]:
        """All slides, finished or not."""
        return frozenset(self.done) | frozenset(self.undone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A slide that both runs hold and that can't be compared."""

    slide_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What of two runs can be compared."""

    a: Run
    b: Run
    slide_ids: tuple[str, ...]
    """Slides that both have finished, in order."""
    skipped: tuple[Skipped, ...]

    @property
    def only_a(self) -> tuple[str, ...]:
        """Slides that B doesn't hold."""
        return tuple(sorted(self.a.slide_ids - self.b.slide_ids))

    @property
    def only_b(self) -> tuple[str, ...]:
        """Slides that A doesn't hold."""
        return tuple(sorted(self.b.slide_ids - self.a.slide_ids))


def open_run(folder: Path, name: str) -> Run:
    """Look what a result folder holds.

    Parameters
    ----------
    folder
        ``--out`` of a run.
    name
        What messages call it.

    Raises
    ------
    OutputNotOurs
        If it is no result folder.
    StoreDamaged
        If its table of slides can't be read.
    """
    layout = Layout(folder.resolve())
    if not layout.holds_results:
        what = "is no folder" if not folder.is_dir() else "is no result folder"
        message = f"{name}, {folder}, {what}. Give the folder that was --out of a run."
        raise OutputNotOurs(message)
    rows, damaged = _rows(layout)
    undone = {**damaged, **dict(_undone(layout, rows))}
    done = {name: row for name, row in rows.items() if name not in undone}
    return Run(name=name, layout=layout, done=done, undone=undone)


def in_common(a: Run, b: Run) -> Common:
    """Find the slides that both have finished.

    Raises
    ------
    SlideNotFound
        If there is no such slide; the message says what either holds.
    """
    both = sorted(a.slide_ids & b.slide_ids)
    reasons = {name: reason for name in both if (reason := _why_not(a, b, name))}
    found = Common(
        a=a,
        b=b,
        slide_ids=tuple(name for name in both if name not in reasons),
        skipped=tuple(Skipped(slide_id=n, reason=why) for n, why in reasons.items()),
    )
    if not both:
        message = (
            f"No slide is in both. {_held(a)} {_held(b)} Slides are matched by id, "
            "which is the name of the file or the manifest's slide_id."
        )
        raise SlideNotFound(message)
    if not found.slide_ids:
        why = "; ".join(f"{name}: {why}" for name, why in [*reasons.items()][:_SHOWN])
        message = f"None of the {len(both)} slides in both can be compared. {why}"
        raise SlideNotFound(message)
    return found


def _rows(layout: Layout) -> tuple[dict[str, SlideRow], dict[str, str]]:
    """Return the rows of slides, and why others have none that can be read.

    As each slide left it, else from the folder's table: the ledger may be deleted.
    """
    listed = read_slides(layout.slides) if layout.slides.exists() else []
    rows = {row.slide_id: row for row in listed}
    damaged = {}
    for path in layout.ledger_root.glob("*/row.json"):
        slide_id = path.parent.name
        try:
            rows[slide_id] = SlideRow.from_json(path.read_text(encoding="utf-8"))
        except (StoreDamaged, UnicodeDecodeError):
            damaged[slide_id] = "its row in the ledger is damaged; run it again"
    return rows, damaged


def _undone(layout: Layout, rows: Mapping[str, SlideRow]) -> Iterator[tuple[str, str]]:
    for name, row in rows.items():
        if not is_slide_id(name):
            yield name, "no id that a run gives: it may lead out of the folder"
        elif row.status != "done":
            yield name, f"quarantined: {row.reason}"
        elif not layout.table(name).exists():
            yield name, "its table is gone"
    for path in layout.ledger_root.glob("*/plan.json"):
        if not path.with_name("row.json").exists():
            yield path.parent.name, "unfinished"
    for path in layout.quarantine("*").parent.glob("*.json"):
        record = Quarantine.read(layout, path.stem)
        reason = record.reason if record else "its record can't be read"
        yield path.stem, f"quarantined: {reason}"


def _why_not(a: Run, b: Run, slide_id: str) -> str:
    """Say why a slide can't be compared; nothing if it can."""
    undone = [
        f"{run.undone[slide_id]} (in {run.name})"
        for run in (a, b)
        if slide_id in run.undone
    ]
    if undone:
        return "; ".join(undone)
    in_a, in_b = a.done[slide_id], b.done[slide_id]
    if in_a.fingerprint and in_b.fingerprint and in_a.fingerprint != in_b.fingerprint:
        return (
            f"two slides of one name: in A it was {in_a.path}, fingerprint "
            f"{in_a.fingerprint[:10]}…, in B {in_b.path}, {in_b.fingerprint[:10]}…"
        )
    if in_a.slide_shape != in_b.slide_shape:
        return f"of {in_a.slide_shape} px (height, width) in A, {in_b.slide_shape} in B"
    return ""


def _held(run: Run) -> str:
    return f"{run.name} ({run.layout.out}) holds {_listed(sorted(run.slide_ids))}."


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no slide"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{more}"
