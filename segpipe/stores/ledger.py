"""The truth about what is finished: a receipt a batch, a manifest a stage.

A receipt is written after the units it is for. A stage's key says what its results
depend on, so a receipt under another key is worth nothing and is thrown away.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from segpipe.stores import leases
from segpipe.stores.durable import remove, write_text
from segpipe.stores.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that some units of a stage are written."""

    units: tuple[int, ...]
    """The units."""
    count: int
    """What the stage counts: pixels, instances, nuclei."""
    seconds: float
    """Wall time of the batch in its process."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Receipts of one slide."""

    layout: Layout
    slide_id: str

    @property
    def folder(self) -> Path:
        """Where the receipts lie."""
        return self.layout.ledger(self.slide_id)

    @property
    def plan_path(self) -> Path:
        """The plan that workers read."""
        return self.folder / "plan.json"

    @property
    def ingredients_path(self) -> Path:
        """What went into the keys of the last run."""
        return self.folder / "ingredients.json"

    @property
    def row_path(self) -> Path:
        """What is known of the slide when it is finished."""
        return self.folder / "row.json"

    def open(self, stage: str, key: str) -> None:
        """Make room for receipts of a stage; drop those of its other keys."""
        for stale in self.folder.glob(f"{stage}-*"):
            if stale.name != f"{stage}-{key}":
                remove(stale)
        self._stage(stage, key).mkdir(parents=True, exist_ok=True)

    def write(self, stage: str, key: str, receipt: Receipt) -> None:
        """Write a receipt, durably."""
        name = f"{receipt.units[0]:08d}-{len(receipt.units)}.json"
        write_text(self._stage(stage, key) / name, json.dumps(asdict(receipt)))

    def receipts(self, stage: str, key: str) -> tuple[Receipt, ...]:
        """Return every readable receipt; a truncated one counts as not written."""
        paths = sorted(self._stage(stage, key).glob("[0-9]*.json"))
        return tuple(found for path in paths if (found := _read(path)) is not None)

    def done_units(self, stage: str, key: str) -> frozenset[int]:
        """Return the units that have a receipt."""
        return frozenset(
            unit for receipt in self.receipts(stage, key) for unit in receipt.units
        )

    def close(self, stage: str, key: str, *, seconds: float) -> None:
        """Write the manifest that ends a stage."""
        receipts = self.receipts(stage, key)
        manifest = {
            "n_units": sum(len(receipt.units) for receipt in receipts),
            "count": sum(receipt.count for receipt in receipts),
            "seconds": seconds,
        }
        write_text(self._manifest(stage, key), json.dumps(manifest))

    def is_closed(self, stage: str, key: str) -> bool:
        """Whether the stage ended under this key; a damaged manifest says no."""
        return self._closed_after(stage, key) is not None

    def seconds(self, stage: str, key: str) -> float:
        """Return how long a closed stage took."""
        return self._closed_after(stage, key) or 0.0

    def _closed_after(self, stage: str, key: str) -> float | None:
        try:
            manifest = json.loads(self._manifest(stage, key).read_text())
            return float(manifest["seconds"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def revoke(self, stage: str, key: str, units: Collection[int]) -> None:
        """Take back the receipts of some units, because what they vouch for is gone.

        Units of the same batches lose theirs too. The stage is open again.
        """
        lost = set(units)
        remove(self._manifest(stage, key))
        for path in self._stage(stage, key).glob("[0-9]*.json"):
            receipt = _read(path)
            if receipt is None or not lost.isdisjoint(receipt.units):
                remove(path)

    def forget(self, stage: str) -> None:
        """Drop every receipt of a stage, because what they vouch for is gone."""
        for folder in self.folder.glob(f"{stage}-*"):
            remove(folder)

    @contextmanager
    def held(
        self, timing: leases.LeaseTiming = leases.DEFAULT_TIMING
    ) -> Iterator[leases.Hold]:
        """Hold the slide for this process, on all hosts that share the folder.

        The hold ends with the process, however it ends (see `segpipe.stores.leases`).

        Raises
        ------
        OutputNotOurs
            If another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with leases.holding(self.folder, timing) as hold:
            yield hold

    def hold(self) -> leases.Hold:
        """Return this process's hold on the slide, as `held` gave it.

        Raises
        ------
        OutputNotOurs
            If it has none, or another process took it.
        """
        return leases.hold_of_this_process(self.folder)

    def _stage(self, stage: str, key: str) -> Path:
        return self.folder / f"{stage}-{key}"

    def _manifest(self, stage: str, key: str) -> Path:
        return self._stage(stage, key) / "closed.json"


def _read(path: Path) -> Receipt | None:
    try:
        fields = json.loads(path.read_text())
        return Receipt(
            units=tuple(fields["units"]),
            count=fields["count"],
            seconds=fields["seconds"],
        )
    except (ValueError, KeyError, TypeError):
        return None
