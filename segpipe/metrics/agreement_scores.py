"""How well two label maps agree, neither of which is the truth: counts and scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segpipe.metrics.adding import Additive
from segpipe.metrics.overlap import Floats, Ints

IOU_PARTS = 2**40
"""IoUs are added up in whole parts of this, so that their order is nothing."""
AREA_PARTS = 100
"""Differences of area are counted in parts of a square micrometre."""
TypePairs = Mapping[tuple[str, str], int]
"""How many matched nuclei have this type in A and that in B, where both say one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Additive):
    """All that the scores of an agreement need. Those of several slides add up."""

    n_a: int = 0
    """Nuclei in A."""
    n_b: int = 0
    """Nuclei in B."""
    n_matched: int = 0
    """Pairs of one of A and one of B that are the same nucleus."""
    n_outlined: int = 0
    """Those of them that were paired by their outlines."""
    n_other_type: int = 0
    """Those of them that both type, but otherwise."""
    iou_parts: int = 0
    """Sum of the IoU of pairs, in 1 / ``IOU_PARTS``."""
    a_px: int = 0
    """Pixels of nuclei in A."""
    b_px: int = 0
    """Pixels of nuclei in B."""
    common_px: int = 0
    """Pixels of both."""
    types: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Matched nuclei that both type, by type in A and in B."""
    areas: Counter[int] = field(default_factory=Counter)
    """Matched nuclei by area in B less area in A, in 1 / ``AREA_PARTS`` µm²."""


def count_ious(iou: Floats) -> int:
    """Add up the IoU of pairs, in parts."""
    return int(np.rint(iou * IOU_PARTS).astype(np.int64).sum())


def count_areas(a_um2: NDArray[np.float32], b_um2: NDArray[np.float32]) -> Counter[int]:
    """Count pairs by how much larger their area is in B than in A."""
    larger = b_um2.astype(np.float64) - a_um2.astype(np.float64)
    parts, counts = np.unique(np.rint(larger * AREA_PARTS), return_counts=True)
    return Counter(dict(zip(map(int, parts), map(int, counts), strict=True)))


def agreement_scores(counts: Agreement) -> dict[str, float]:
    """Return every score of an agreement, of one slide or of many added up.

    =================== ================================================================
    f1                  twice the matched nuclei by the nuclei of both runs
    sq                  mean IoU of matched nuclei
    pq                  the product of the two
    dice                twice the common foreground by the sum of both foregrounds
    kappa               Cohen's, of the types of nuclei that are matched and typed twice
    area_difference_um2 median of area in B less area in A
    =================== ================================================================

    Returns
    -------
    dict
        NaN where there is nothing to score, or outlines were not compared. All but the
        last stay as they are if A and B are swapped; that one changes its sign.
    """
    f1 = _ratio(2 * counts.n_matched, counts.n_a + counts.n_b)
    by_outlines = counts.n_outlined == counts.n_matched
    sq = _ratio(counts.iou_parts / IOU_PARTS, counts.n_outlined)
    without_pairs = 0.0 if counts.n_a + counts.n_b else math.nan
    pq = f1 * sq if counts.n_matched else without_pairs
    dice = _ratio(2 * counts.common_px, counts.a_px + counts.b_px)
    return {
        "f1": f1,
        "sq": sq if by_outlines else math.nan,
        "pq": pq if by_outlines else math.nan,
        "dice": dice if by_outlines else math.nan,
        "kappa": kappa(counts.types),
        "area_difference_um2": _median(counts.areas) / AREA_PARTS,
    }


def kappa(pairs: TypePairs) -> float:
    """Return how much more often two raters agree than by chance.

    1 if both say the same type of all; NaN without pairs.

    References
    ----------
    Cohen 1960, *A coefficient of agreement for nominal scales*.
    """
    total = sum(pairs.values())
    if not total:
        return math.nan
    in_a, in_b = (_shares(pairs, side) for side in (0, 1))
    same = sum(n for (a, b), n in pairs.items() if a == b)
    chance = sum(n * in_b[name] for name, n in in_a.items())
    if chance == total**2:
        return 1.0
    return (same * total - chance) / (total**2 - chance)


def confusion_of(pairs: TypePairs, names: Sequence[str]) -> Ints:
    """Lay pairs out as a matrix.

    Parameters
    ----------
    pairs
        Matched nuclei by type in A and in B.
    names
        The K types of either.

    Returns
    -------
    (K, K) int64
        Rows are the types in A, columns those in B.
    """
    matrix = np.zeros((len(names), len(names)), np.int64)
    for (a, b), n in pairs.items():
        matrix[names.index(a), names.index(b)] += n
    return matrix


def names_of(pairs: TypePairs) -> tuple[str, ...]:
    """Return the types that occur in pairs, by name."""
    return tuple(sorted({name for pair in pairs for name in pair}))


def _shares(pairs: TypePairs, side: int) -> Counter[str]:
    shares: Counter[str] = Counter()
    for pair, n in pairs.items():
        shares[pair[side]] += n
    return shares


def _median(counted: Mapping[int, int]) -> float:
    """Return the median of numbers of which each occurs so many times."""
    if not counted:
        return math.nan
    values = np.array(sorted(counted))
    up_to = np.cumsum([counted[value] for value in values.tolist()])
    middle = ((up_to[-1] - 1) // 2, up_to[-1] // 2)
    low, high = values[np.searchsorted(up_to, middle, side="right")]
    return float(low + high) / 2


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
