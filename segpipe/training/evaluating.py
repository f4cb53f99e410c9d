"""Evaluating loaded weights on annotated images, at the images' own resolution."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, Maps, TypeMap, to_planes
from segpipe.errors import DatasetError
from segpipe.metrics import (
    Counts,
    TypeCounts,
    TypedLabels,
    count,
    count_types,
    scores,
    type_scores,
)
from segpipe.networks import TYPE_HEAD, LoadedNetwork, predict_planes
from segpipe.targets import UNTYPED
from segpipe.training.annotated import Annotated, at_mpp, read_annotated
from segpipe.training.manifest import Sample
from segpipe.training.patches import Progress

DETECTION_RADIUS_UM = 3.0
"""HoVer-Net's 12 px at 0.25 micrometres per pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What was counted in one image."""

    sample: Sample
    counts: Counts
    types: tuple[TypeCounts, ...]
    """One per nucleus type; empty if image or network is untyped."""


def evaluate(
    loaded: LoadedNetwork,
    samples: Sequence[Sample],
    out: Path,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Evaluate on annotated images and write ``metrics.json`` and ``images.csv``.

    Parameters
    ----------
    loaded
        The network.
    samples
        The images, as ``select_samples`` returns them.
    out
        Folder; made if missing.
    progress
        Called with what is done, how many are done, and of how many.

    Returns
    -------
    dict
        What ``metrics.json`` holds: by set, means over images; under ``pooled`` the
        scores of the set's added counts; under ``types`` the F1 of each type.

    Raises
    ------
    DatasetError
        If an image won't do.
    """
    out.mkdir(parents=True, exist_ok=True)
    evaluated = list(_evaluate_all(loaded, samples, progress))
    metrics = summarise(evaluated, loaded.card.types)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    _write_rows(out / "images.csv", evaluated)
    return metrics


def _evaluate_all(
    loaded: LoadedNetwork, samples: Sequence[Sample], progress: Progress | None
) -> Iterable[Evaluated]:
    for index, sample in enumerate(samples):
        yield evaluate_image(loaded, read_annotated(sample))
        if progress is not None:
            progress(f"evaluating {sample.set}", index + 1, len(samples))


def evaluate_image(loaded: LoadedNetwork, annotated: Annotated) -> Evaluated:
    """Segment an image at the network's resolution and compare at its own."""
    maps = predict_image(loaded, annotated)
    labels = loaded.network.decode(maps, loaded.decoding)
    return compare(annotated, labels, maps.get(TYPE_HEAD))


def predict_image(loaded: LoadedNetwork, annotated: Annotated) -> Maps:
    """Return the maps of an image, resampled to the network's resolution."""
    return predict_planes(loaded, to_planes(at_mpp(annotated, loaded.card.mpp).image))


def compare(
    annotated: Annotated, labels: LabelMap, types: TypeMap | None = None
) -> Evaluated:
    """Compare a label map of any resolution with an image's annotation.

    Parameters
    ----------
    annotated
        The truth.
    labels : (Y, X) int32
        What was found, at the network's resolution.
    types : (K, Y, X) uint8
        Type map of the same shape; None compares no types.

    Raises
    ------
    DatasetError
        If the annotation has a type the type map hasn't.
    """
    found = _to_shape(labels, annotated.labels.shape)
    radius_px = DETECTION_RADIUS_UM / (annotated.sample.mpp or 0.25)
    true_types = _true_types(annotated, 0 if types is None else len(types))
    return Evaluated(
        sample=annotated.sample,
        counts=count(annotated.labels, found, radius_px=radius_px),
        types=()
        if types is None or true_types is None
        else count_types(
            TypedLabels(labels=annotated.labels, types=true_types),
            TypedLabels(labels=found, types=_found_types(labels, types, found)),
            n_types=len(types),
            radius_px=radius_px,
        ),
    )


def _to_shape(labels: LabelMap, shape: tuple[int, ...]) -> LabelMap:
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT))


def _true_types(annotated: Annotated, n_types: int) -> NDArray[np.int64] | None:
    """Return the commonest known type of each instance, by ascending id."""
    types = annotated.types
    if types is None or n_types == 0:
        return None
    known = types[types != UNTYPED]
    if known.size and known.max() > n_types:
        message = (
            f"{annotated.sample.types} has type {known.max()}, but the network knows "
            f"{n_types}; map the set's types to the network's in a recipe."
        )
        raise DatasetError(message)
    planes = types == np.arange(1, n_types + 1, dtype=np.uint8)[:, None, None]
    return _vote(annotated.labels, planes.astype(np.uint8))


def _found_types(
    labels: LabelMap, types: TypeMap, found: LabelMap
) -> NDArray[np.int64]:
    """Return the likeliest type of each instance that is left in ``found``."""
    ids = np.unique(labels[labels > 0])
    return _vote(labels, types)[np.isin(ids, found)]


def _vote(labels: LabelMap, planes: NDArray[np.uint8]) -> NDArray[np.int64]:
    inside = labels > 0
    ids, at = np.unique(labels[inside], return_inverse=True)
    sums = [np.bincount(at, weights=p[inside], minlength=len(ids)) for p in planes]
    votes = np.stack(sums)
    return np.where(votes.any(axis=0), votes.argmax(axis=0) + 1, 0)


def summarise(evaluated: Sequence[Evaluated], types: Sequence[str]) -> dict[str, Any]:
    """Return what ``metrics.json`` holds."""
    names = sorted({one.sample.set for one in evaluated})
    return {
        name: _summary([one for one in evaluated if one.sample.set == name], types)
        for name in names
    }


def _summary(evaluated: Sequence[Evaluated], types: Sequence[str]) -> dict[str, Any]:
    rows = [scores(one.counts) for one in evaluated]
    total = reduce(add, (one.counts for one in evaluated))
    summary: dict[str, Any] = {
        "n_images": len(evaluated),
        "n_nuclei": total.n_truth,
        **{name: _mean([row[name] for row in rows]) for name in rows[0]},
        "pooled": {n: _plain(v) for n, v in scores(total).items()},
    }
    typed = [one.types for one in evaluated if one.types]
    if typed:
        added = [reduce(add, of_type) for of_type in zip(*typed, strict=True)]
        f1 = type_scores(added)
        summary["f1_type"] = _mean(f1)
        summary["types"] = {
            name: {"f1_type": _plain(value), **asdict(one)}
            for name, value, one in zip(types, f1, added, strict=True)
        }
    return summary


def _mean(values: Sequence[float]) -> float | None:
    """Return the mean of what is a number; None if nothing is."""
    real = [value for value in values if not math.isnan(value)]
    return sum(real) / len(real) if real else None


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _write_rows(path: Path, evaluated: Sequence[Evaluated]) -> None:
    rows = [
        {
            "set": one.sample.set,
            "id": one.sample.id,
            **scores(one.counts),
            **asdict(one.counts),
        }
        for one in evaluated
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
