"""Rows of a slide's table taken by ascending ids, without holding the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segpipe.errors import StoreDamaged


class RowsInOrder:
    """The rows of a table from the first one still wanted to the last one asked for.

    Parameters
    ----------
    parts
        Rows ascending in ``nucleus_id``, some at a time, as ``iter_nuclei`` yields.
    columns
        Their columns, for a table without rows.
    name
        What the rows are of, for messages.
    """

    def __init__(
        self, parts: Iterator[pd.DataFrame], *, columns: Sequence[str], name: str
    ) -> None:
        self._parts = parts
        self._name = name
        self._rows = pd.DataFrame(columns=list(columns))
        self._is_taken = np.zeros(0, np.bool_)
        self._end = 0
        self._next = 1

    def take(self, ids: NDArray[np.uint32]) -> pd.DataFrame:
        """Return the rows of some ids, in their order; each only once.

        Raises
        ------
        StoreDamaged
            If an id is not in the table, or was taken before.
        """
        last = int(ids.max(initial=0))
        while self._end < last and self._read_on():
            pass
        rows = self._rows
        known = rows["nucleus_id"].to_numpy()
        at = np.searchsorted(known, ids)
        found = at < len(known)
        found[found] = known[at[found]] == ids[found]
        found[found] = ~self._is_taken[at[found]]
        if not found.all():
            raise StoreDamaged(self._foreign(int(ids[~found][0])))
        self._is_taken[at] = True
        self._next = max(self._next, last + 1)
        return rows.iloc[at].reset_index(drop=True)

    def forget(self, below: int | None) -> None:
        """Drop the rows before an id; None is all up to the last that was taken.

        Raises
        ------
        StoreDamaged
            If one of them was never taken: the label map lacks it.
        """
        ids = self._rows["nucleus_id"].to_numpy()
        self._drop(int(np.searchsorted(ids, below or self._next)))

    def finish(self) -> None:
        """Drop all rows.

        Raises
        ------
        StoreDamaged
            If one was never taken.
        """
        while self._read_on():
            pass
        self._drop(len(self._rows))

    def _drop(self, n_rows: int) -> None:
        lost = self._rows["nucleus_id"].to_numpy()[:n_rows][~self._is_taken[:n_rows]]
        if len(lost):
            raise StoreDamaged(self._lost(lost))
        self._rows = self._rows.iloc[n_rows:]
        self._is_taken = self._is_taken[n_rows:]

    def _read_on(self) -> bool:
        part = next(self._parts, None)
        if part is None:
            return False
        self._rows = pd.concat([self._rows, part]) if len(self._rows) else part
        self._is_taken = np.append(self._is_taken, np.zeros(len(part), np.bool_))
        self._end = max([self._end, *part["nucleus_id"].tail(1)])
        return True

    def _foreign(self, nucleus_id: int) -> str:
        return (
            f"Nucleus {nucleus_id} of the label map of {self._name} is not in its "
            "table, or lies there in two pieces: label map and table are of different "
            "runs, or damaged. Run the slide again."
        )

    def _lost(self, ids: NDArray[np.uint32]) -> str:
        shown = ", ".join(map(str, ids[:3].tolist()))
        return (
            f"The label map of {self._name} lacks {len(ids)} nuclei of its table: "
            f"{shown}{' …' if len(ids) > 3 else ''}. Chunks of it are gone. Run the "
            "slide again: what is lost is computed anew."
        )
