"""Parts on either side of seams that are one instance, and what they are together.

Only parts that touch a seam are held: a few per cent of a slide's instances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segpipe.labels.equivalence import equivalence_classes
from segpipe.labels.records import ANCHOR, InstanceRecords, merge_records

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Instances that lie in more than one tile."""

    parts: Ints
    """(P,) rows, among the instances of all tiles, of their parts; ascending."""
    whole_of: Ints
    """(P,) which whole each part belongs to, 0..W - 1."""
    wholes: InstanceRecords
    """(W, 6) int64 records of the wholes, in order of ``first``."""
    first: Ints
    """(W,) the part of each whole that holds its anchor, as its row; ascending."""


def parts_of(pairs: Ints) -> Ints:
    """Return the rows that occur in pairs, ascending."""
    return np.unique(pairs)


def join(pairs: Ints, parts: Ints, records: InstanceRecords) -> Joined:
    """Join parts into wholes.

    Parameters
    ----------
    pairs : (Q, 2) int64
        Rows that are one instance, in any order, also repeatedly.
    parts : (P,) int64
        ``parts_of(pairs)``.
    records : (P, 6) int64
        Records of the parts.
    """
    n_wholes, group = equivalence_classes(np.searchsorted(parts, pairs), len(parts))
    merged = merge_records(records, group, n_wholes)
    anchoring = np.flatnonzero(records[:, ANCHOR] == merged[group, ANCHOR])
    # Parts ascend, so the groups come in the order of their first parts.
    order = group[anchoring]
    whole_of = np.empty(n_wholes, np.int64)
    whole_of[order] = np.arange(n_wholes)
    return Joined(
        parts=parts,
        whole_of=whole_of[group],
        wholes=merged[order],
        first=parts[anchoring],
    )
