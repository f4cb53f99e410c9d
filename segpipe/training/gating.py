"""Which of a teacher's nuclei, and which background, are sure enough to learn from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, Maps, Mask, TypeMap
from segpipe.metrics.overlap import Floats, overlap
from segpipe.networks import PROB_HEAD, TYPE_HEAD
from segpipe.targets import UNTYPED
from segpipe.training.comparing import mean_prob

RIM_PX = 2
"""Background this near to a sure nucleus is known though probabilities fall there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """Pseudo-labels of an image, all of one height and width."""

    labels: LabelMap
    """Sure nuclei only."""
    types: NDArray[np.uint8]
    """0 background, 1.. types, 255 not sure."""
    known: Mask
    """Sure nuclei and sure background; the rest counts for nothing."""
    n_found: int
    """Nuclei that the teacher found, sure or not."""


def gate(
    labels: LabelMap,
    maps: Maps,
    *,
    confidence: float,
    agreement: float = 0.0,
    mirrored: LabelMap | None = None,
) -> Gated:
    """Keep what a teacher is sure of.

    Parameters
    ----------
    labels : (Y, X) int32
        What the teacher found.
    maps
        The teacher's, of the same shape: foreground probability, and type if it knows
        any.
    confidence
        Least mean probability of a nucleus, and of its type; background is sure where
        the probability is at most the rest.
    agreement
        Least intersection over union with a nucleus of ``mirrored``.
    mirrored : (Y, X) int32
        What the teacher finds in the mirrored image, mirrored back; None isn't asked.
    """
    prob, types = maps[PROB_HEAD], maps.get(TYPE_HEAD)
    ids = np.unique(labels[labels > 0])
    sure = mean_prob(labels, prob) >= confidence
    if mirrored is not None and agreement > 0:
        sure &= _agreement(labels, mirrored, ids) >= agreement
    kept = np.where(np.isin(labels, ids[sure]), labels, 0).astype(np.int32)
    doubtful = (labels > 0) & (kept == 0)
    kernel = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
    near_sure = cv2.dilate((kept > 0).astype(np.uint8), kernel) > 0
    near_doubtful = cv2.dilate(doubtful.astype(np.uint8), kernel) > 0
    background = (prob <= 255 * (1 - confidence)) | near_sure
    return Gated(
        labels=kept,
        types=_types(kept, types, confidence),
        known=(kept > 0) | (background & ~near_doubtful),
        n_found=len(ids),
    )


def _agreement(labels: LabelMap, mirrored: LabelMap, ids: NDArray[np.int32]) -> Floats:
    """Return the best intersection over union of each id, ascending."""
    table = overlap(labels, mirrored)
    best = np.zeros(len(ids))
    np.maximum.at(best, table.truth, table.iou)
    return best


def _types(
    labels: LabelMap, types: TypeMap | None, confidence: float
) -> NDArray[np.uint8]:
    typed = np.where(labels > 0, UNTYPED, 0).astype(np.uint8)
    ids = np.unique(labels[labels > 0])
    if types is None or len(ids) == 0:
        return typed
    share = np.stack([mean_prob(labels, plane) for plane in types])
    likeliest = share.argmax(axis=0) + 1
    table = np.zeros(int(ids.max()) + 1, np.uint8)
    table[ids] = np.where(share.max(axis=0) >= confidence, likeliest, UNTYPED)
    return np.asarray(table[labels])
