"""From counts of images to scores of sets, averaged in both ways, by name.

Where the summary of a set names no other way, a score is the mean over its images;
under ``pooled`` are the scores of the counts of all its images added up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from typing import Any, TypeVar

from segpipe.metrics import (
    mean_score,
    pixel_scores,
    ranking_scores,
    scores,
    type_pq,
    type_scores,
)
from segpipe.metrics.curves import average_precisions, best_f1
from segpipe.metrics.overlap import Ints
from segpipe.metrics.ranking import IOUS, Ranking
from segpipe.metrics.reliability import Reliability, calibration_error
from segpipe.training.comparing import Evaluated

T = TypeVar("T")
Row = Mapping[str, Any]


def by_set(evaluated: Iterable[Evaluated]) -> dict[str, list[Evaluated]]:
    """Return the images of each set, sets by name."""
    sets: dict[str, list[Evaluated]] = {}
    for one in evaluated:
        sets.setdefault(one.sample.set, []).append(one)
    return dict(sorted(sets.items()))


def summarise(evaluated: Sequence[Evaluated], types: Sequence[str]) -> dict[str, Any]:
    """Return what ``metrics.json`` holds: by set, its scores."""
    return {name: _summary(ones, types) for name, ones in by_set(evaluated).items()}


def image_scores(one: Evaluated) -> dict[str, float]:
    """Return every score of one image, NaN where there is nothing to score."""
    row = {**scores(one.counts), **pixel_scores(one.pixels)}
    if one.ranking is not None:
        row |= ranking_scores(one.ranking)
    if one.types:
        row |= {"mpq": _pannuke(one), "f1_type": mean_score(type_scores(one.types))}
    return row


def ranking_of(evaluated: Sequence[Evaluated]) -> Ranking | None:
    """Return the pooled ranking of some images, if they have scores."""
    return _total([one.ranking for one in evaluated if one.ranking is not None])


def confusion_of(evaluated: Sequence[Evaluated]) -> Ints | None:
    """Return the added confusion of some images, if they are typed."""
    return _total([one.confusion for one in evaluated if one.confusion is not None])


def reliability_of(evaluated: Sequence[Evaluated]) -> Reliability | None:
    """Return the added reliability of some images, if they have probabilities."""
    known = [one.reliability for one in evaluated if one.reliability is not None]
    return _total(known)


def _summary(evaluated: Sequence[Evaluated], types: Sequence[str]) -> dict[str, Any]:
    counts = reduce(add, (one.counts for one in evaluated))
    pixels = reduce(add, (one.pixels for one in evaluated))
    rows = [image_scores(one) for one in evaluated]
    names = [name for name in rows[0] if name not in {"mpq", "f1_type"}]
    pooled = {**scores(counts), **pixel_scores(pixels)}
    summary: dict[str, Any] = {
        "n_images": len(evaluated),
        "n_nuclei": counts.n_truth,
        **{name: _plain(mean_score([row[name] for row in rows])) for name in names},
        "bpq": _plain(mean_score([row["pq"] for row in rows])),
    }
    ranking = ranking_of(evaluated)
    if ranking is not None:
        pooled |= ranking_scores(ranking)
        summary |= _ranked(ranking)
    summary |= _typed([one for one in evaluated if one.types], types)
    summary["pooled"] = {name: _plain(value) for name, value in pooled.items()}
    reliability = reliability_of(evaluated)
    if reliability is not None:
        error = calibration_error(reliability)
        summary["calibration"] = {"expected_error": _plain(error)}
    return summary


def _ranked(ranking: Ranking) -> dict[str, Any]:
    """Return what is read off the pooled curve: AP at each IoU, and the best F1."""
    precisions = average_precisions(ranking)
    best = best_f1(ranking)
    return {
        "ap_pooled": {
            f"{iou:.2f}": _plain(float(ap))
            for iou, ap in zip(IOUS, precisions, strict=True)
        },
        "best_f1_pooled": None if best is None else asdict(best),
    }


def _typed(evaluated: Sequence[Evaluated], types: Sequence[str]) -> dict[str, Any]:
    """Return the scores of types: F1 and PQ+ of added counts, mPQ over images."""
    if not evaluated:
        return {}
    added = [
        reduce(add, of_type)
        for of_type in zip(*(one.types for one in evaluated), strict=True)
    ]
    f1, pq_plus = type_scores(added), type_pq(added)
    return {
        "f1_type": _plain(mean_score(f1)),
        "mpq": _plain(mean_score([_pannuke(one) for one in evaluated])),
        "mpq_plus": _plain(mean_score(pq_plus)),
        "types": {
            name: {"f1_type": _plain(value), "pq_plus": _plain(pq), **asdict(one)}
            for name, value, pq, one in zip(types, f1, pq_plus, added, strict=True)
        },
        "confusion": {
            "names": ["unknown", *types, "no nucleus"],
            "truth_by_found": _array(confusion_of(evaluated)),
        },
    }


def _pannuke(one: Evaluated) -> float:
    """Return the mean PQ of the types that an image truly has; PanNuke's mPQ."""
    pq = zip(type_pq(one.types), one.types, strict=True)
    return mean_score([value for value, counts in pq if counts.n_truth])


def _total(parts: Sequence[T]) -> T | None:
    return reduce(add, parts) if parts else None


def _array(values: Ints | None) -> list[list[int]]:
    return [] if values is None else values.tolist()


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
