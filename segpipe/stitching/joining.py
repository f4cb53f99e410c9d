"""Instances of neighbouring tiles that are one, and what they are together.

A nucleus that is anchored in a row of tiles ends within a few rows below it; what goes
on is too large for one. So rows of tiles go by in a window, and no more of the slide is
held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segpipe.labels.equivalence import equivalence_classes
from segpipe.labels.records import InstanceRecords, merge_records
from segpipe.stitching.rows import Ints, TileRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Wholes:
    """Instances in several tiles that are anchored in the first of some rows."""

    records: InstanceRecords
    """(W, 6) int64, merged from the parts that the rows hold."""
    parts: Ints
    """(P,) parts of these wholes, as rows of all records one row of tiles after the
    other; ascending."""
    whole_of: Ints
    """(P,) which whole each part belongs to, 0..W - 1."""
    alone: Ints
    """Rows of the first row's records that have no part elsewhere, ascending."""


def wholes_of(rows: Sequence[TileRow]) -> Wholes:
    """Join what is anchored in the first of some rows of tiles.

    Parameters
    ----------
    rows
        One below the other. A whole that goes on below the last has only the parts
        that are in these rows.

    Returns
    -------
    Wholes
        Those with a part in the first row and none above it.
    """
    starts = np.cumsum([0, *(len(row.records) for row in rows)])
    within = [row.pairs + start for row, start in zip(rows, starts, strict=False)]
    between = [row.above + starts[at : at + 2] for at, row in enumerate(rows[1:])]
    pairs = np.concatenate(within + between)
    from_above = np.unique(rows[0].above[:, 1])
    parts = np.unique(np.concatenate([pairs.ravel(), from_above]))
    n_groups, group = equivalence_classes(np.searchsorted(parts, pairs), len(parts))
    in_first = parts < starts[1]
    ours = np.zeros(n_groups, np.bool_)
    ours[group[in_first]] = True
    ours[group[np.searchsorted(parts, from_above)]] = False
    number = np.cumsum(ours) - 1
    mine = ours[group]
    held = parts[mine]
    records = np.concatenate([row.records for row in rows])[held]
    whole_of = number[group[mine]]
    return Wholes(
        records=merge_records(records, whole_of, int(np.count_nonzero(ours))),
        parts=held,
        whole_of=whole_of,
        alone=np.delete(np.arange(starts[1]), parts[in_first]),
    )
