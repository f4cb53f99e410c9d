"""Comparing what was found in an annotated image with its annotation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, ProbMap, TypeMap
from segpipe.errors import DatasetError, ShapeMismatch
from segpipe.metrics import (
    Counts,
    PixelCounts,
    Ranking,
    Reliability,
    TypeCounts,
    Typing,
    confusion,
    count_overlap,
    count_pixels,
    count_reliability,
    count_types,
    rank,
)
from segpipe.metrics.detections import match_centres
from segpipe.metrics.overlap import Floats, Ints, Overlap, overlap
from segpipe.targets import UNTYPED
from segpipe.training.annotated import Annotated, mpp_of
from segpipe.training.manifest import Sample

DETECTION_RADIUS_UM = 3.0
"""HoVer-Net's 12 px at 0.25 micrometres per pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What was counted in one image. All but the sample adds up."""

    sample: Sample
    counts: Counts
    pixels: PixelCounts
    types: tuple[TypeCounts, ...] = ()
    """One per nucleus type; empty if the image or what was found is untyped."""
    confusion: Ints | None = None
    """(K + 2, K + 2) which type was taken for which; None if untyped."""
    ranking: Ranking | None = None
    """None if what was found has no scores."""
    reliability: Reliability | None = None
    """None if there is no probability map."""


def compare(
    annotated: Annotated,
    labels: LabelMap,
    types: TypeMap | None = None,
    *,
    scores: Floats | None = None,
    prob: ProbMap | None = None,
) -> Evaluated:
    """Compare a label map of any resolution with an image's annotation.

    Where the annotation says nothing, nothing is compared; see ``known_part``.

    Parameters
    ----------
    annotated
        The truth.
    labels : (Y, X) int32
        What was found, at the network's resolution.
    types : (K, Y, X) uint8
        Type map of the same shape; None compares no types.
    scores : (N,) float
        How sure each found instance is, by ascending id; None gives no ranking.
    prob : (Y, X) uint8
        Foreground probability of the same shape; None gives no reliability.

    Raises
    ------
    DatasetError
        If the annotation has a type the type map hasn't, or the image has no mpp.
    ShapeMismatch
        If there is not one score an instance.
    """
    annotated, found = known_part(annotated, labels)
    truth, known = annotated.labels, annotated.known
    table = overlap(truth, found)
    pairs = match_centres(truth, found, DETECTION_RADIUS_UM / mpp_of(annotated.sample))
    typing = _typing(annotated, labels, types, found)
    confused = None if typing is None else confusion(typing, pairs)
    return Evaluated(
        sample=annotated.sample,
        counts=count_overlap(table, n_detected=len(pairs[0])),
        pixels=count_pixels(
            truth,
            found,
            table,
            n_px=None if known is None else int(np.count_nonzero(known)),
        ),
        types=()
        if typing is None or confused is None
        else count_types(typing, confused, table),
        confusion=confused,
        ranking=None if scores is None else _ranked(labels, scores, table),
        reliability=None if prob is None else _reliability(annotated, prob),
    )


def count_instances(annotated: Annotated, labels: LabelMap) -> Counts:
    """Count what PQ and AJI need and nothing else, as ``compare`` does."""
    annotated, found = known_part(annotated, labels)
    return count_overlap(overlap(annotated.labels, found), n_detected=0)


def known_part(annotated: Annotated, labels: LabelMap) -> tuple[Annotated, LabelMap]:
    """Leave out what the annotation says nothing of.

    Parameters
    ----------
    annotated
        The truth.
    labels : (Y, X) int32
        What was found, of any resolution.

    Returns
    -------
    annotated, found
        The truth, and (Y, X) what was found at its resolution. Found instances that lie
        mostly where nothing is known are gone, and of others the pixels that do.
    """
    found = to_shape(labels, annotated.labels.shape)
    if annotated.known is None:
        return annotated, found
    area_px = sums_inside(found, np.ones(found.shape, np.uint8))
    ids = np.unique(found[found > 0])
    gone = ids[2 * sums_inside(found, annotated.known) < area_px]
    found = np.where(annotated.known & ~np.isin(found, gone), found, 0)
    truth = np.where(annotated.known, annotated.labels, 0)
    return replace(annotated, labels=truth), found


def to_shape(plane: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Resample a plane to another shape; each pixel takes the value of the nearest.

    Parameters
    ----------
    plane : (Y, X) int32 or uint8
        Ids, or 0 and 1 of a mask.
    shape
        Height and width wanted, in pixels.

    Returns
    -------
    array of ``shape``
        Of the plane's dtype.

    Raises
    ------
    cv2.error
        If either has no pixel.
    """
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST_EXACT))


def check_types(annotated: Annotated, n_types: int) -> None:
    """Refuse an annotation with types the network doesn't know.

    Parameters
    ----------
    annotated
        The annotation.
    n_types
        How many types the network tells apart; if none, types play no part.

    Raises
    ------
    DatasetError
        If a type is beyond ``n_types``.
    """
    types = annotated.types
    if types is None or n_types == 0:
        return
    largest = types[types != UNTYPED].max(initial=0)
    if largest > n_types:
        message = (
            f"{annotated.sample.types} has type {largest}, but the network knows "
            f"{n_types}; map the set's types to the network's in a recipe."
        )
        raise DatasetError(message)


def _typing(
    annotated: Annotated, labels: LabelMap, types: TypeMap | None, found: LabelMap
) -> Typing | None:
    if types is None or annotated.types is None or len(types) == 0:
        return None
    check_types(annotated, len(types))
    names = np.arange(1, len(types) + 1, dtype=np.uint8)[:, None, None]
    planes = (annotated.types == names).astype(np.uint8)
    return Typing(
        truth=_vote(annotated.labels, planes),
        found=_vote(labels, types)[left_in(found, labels)],
        n_types=len(types),
    )


def left_in(found: LabelMap, labels: LabelMap) -> NDArray[np.bool_]:
    """Return which ids of ``labels``, ascending, are left in its resampled ``found``.

    A nucleus of few pixels may vanish when a label map shrinks.
    """
    return np.isin(np.unique(labels[labels > 0]), found)


def _ranked(labels: LabelMap, scores: Floats, table: Overlap) -> Ranking:
    ids = np.unique(labels[labels > 0])
    if scores.shape != ids.shape:
        message = f"{len(ids)} instances can't have scores of shape {scores.shape}."
        raise ShapeMismatch(message)
    return rank(table, scores[np.isin(ids, table.found_ids)])


def _reliability(annotated: Annotated, prob: ProbMap) -> Reliability:
    """Count at the network's resolution, where the probabilities are."""
    truth = to_shape((annotated.labels > 0).astype(np.uint8), prob.shape) > 0
    if annotated.known is None:
        return count_reliability(prob, truth)
    known = to_shape(annotated.known.astype(np.uint8), prob.shape) > 0
    return count_reliability(prob[known], truth[known])


def _vote(labels: LabelMap, planes: NDArray[np.uint8]) -> Ints:
    """Return the type of largest sum in each instance, from 1; 0 where all are 0."""
    sums = np.stack([sums_inside(labels, plane) for plane in planes])
    return np.where(sums.any(axis=0), sums.argmax(axis=0) + 1, 0)


def sums_inside(labels: LabelMap, plane: NDArray[Any]) -> Floats:
    """Sum a plane over the pixels of each instance.

    Parameters
    ----------
    labels : (Y, X) int32
        Label map with N instances; 0 is background.
    plane : (Y, X) of numbers or bool
        What is added up.

    Returns
    -------
    (N,) float64
        By ascending id; empty if there is no instance.

    Raises
    ------
    IndexError
        If they differ in height or width.
    """
    inside = labels > 0
    ids, at = np.unique(labels[inside], return_inverse=True)
    return np.bincount(at, plane[inside], len(ids)).astype(np.float64)


def mean_prob(labels: LabelMap, prob: ProbMap) -> Floats:
    """Return the mean probability in each instance, as the nuclei table has it.

    Parameters
    ----------
    labels : (Y, X) int32
        Label map with N instances.
    prob : (Y, X) uint8
        Foreground probability in units of 1/255.

    Returns
    -------
    (N,) float64
        In [0, 1], by ascending id.
    """
    area_px = sums_inside(labels, np.ones(labels.shape, np.uint8))
    return sums_inside(labels, prob) / (255 * area_px)
