"""Annotated images in memory: read, checked, and brought to a network's resolution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import label as connected_components

from segpipe.arrays import RGB, LabelMap, Mask
from segpipe.errors import DatasetError
from segpipe.targets import UNTYPED
from segpipe.training.manifest import Sample

MAX_ID = 65_535
AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
"""Not turned as EXIF may ask, which label maps never are; slides aren't either."""
SOLID = 0.9
"""Least solidity of a component that is taken for a single nucleus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """An image with its annotation, all of one height and width."""

    sample: Sample
    image: RGB
    labels: LabelMap
    types: NDArray[np.uint8] | None
    """0 background, 1.. types, 255 unknown; None if the image is untyped."""
    reliable: Mask
    """Where instances can be trusted."""
    known: Mask | None = None
    """Where the annotation says anything at all; None: everywhere."""


def read_annotated(sample: Sample) -> Annotated:
    """Read an image, its label map and its types.

    Raises
    ------
    DatasetError
        If a file can't be read, is of another kind, or shapes differ.
    """
    image = _read(sample.image, AS_STORED)
    labels = _read_labels(sample, image.shape[:2])
    types = _read_types(sample, image.shape[:2])
    return Annotated(
        sample=sample,
        image=image,
        labels=labels,
        types=types,
        reliable=np.ones(labels.shape, np.bool_)
        if sample.exact
        else single_nuclei(labels),
        known=_read_known(sample, labels.shape),
    )


def _read(path: Path, flag: int) -> NDArray[Any]:
    array = cv2.imread(str(path), flag)
    if array is None or array.size == 0:
        message = f"{path} can't be read as a picture, or is empty."
        raise DatasetError(message)
    return np.asarray(array)


def _read_labels(sample: Sample, shape: tuple[int, ...]) -> LabelMap:
    labels = _read(sample.labels, cv2.IMREAD_UNCHANGED)
    _check_plane(sample.labels, labels, shape)
    if labels.min() < 0 or labels.max() > MAX_ID:
        message = f"{sample.labels} has ids up to {labels.max()}; {MAX_ID} is the most."
        raise DatasetError(message)
    return labels.astype(np.int32)


def _read_types(sample: Sample, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    if sample.types is None or sample.classes == ():
        return None
    types = _read(sample.types, cv2.IMREAD_UNCHANGED)
    _check_plane(sample.types, types, shape)
    if types.min() < 0 or types.max() > UNTYPED:
        message = (
            f"{sample.types} has types from {types.min()} to {types.max()}; "
            f"0 (background) to {UNTYPED} (not known) can be."
        )
        raise DatasetError(message)
    types = types.astype(np.uint8)
    if sample.classes is None:
        return types
    return _reclassed(types, sample, sample.classes)


def _read_known(sample: Sample, shape: tuple[int, ...]) -> Mask | None:
    if sample.known is None:
        return None
    known = _read(sample.known, cv2.IMREAD_UNCHANGED)
    _check_plane(sample.known, known, shape)
    return known > 0


def _reclassed(
    types: NDArray[np.uint8], sample: Sample, classes: tuple[int, ...]
) -> NDArray[np.uint8]:
    known = types[types != UNTYPED]
    if known.size and known.max() > len(classes):
        message = (
            f"{sample.types} has type {known.max()}, but the recipe names only "
            f"{len(classes)} classes for the set {sample.set}."
        )
        raise DatasetError(message)
    table = np.full(256, UNTYPED, np.uint8)
    table[: len(classes) + 1] = (0, *classes)
    renamed: NDArray[np.uint8] = table[types]
    return renamed


def _check_plane(path: Path, plane: NDArray[Any], shape: tuple[int, ...]) -> None:
    if plane.ndim != 2 or plane.dtype.kind not in "iu":
        message = f"{path} is {plane.dtype} {plane.shape}, not one plane of whole ids."
        raise DatasetError(message)
    if plane.shape != tuple(shape):
        message = f"{path} is {plane.shape}, its image {tuple(shape)}."
        raise DatasetError(message)


def single_nuclei(labels: LabelMap) -> Mask:
    """Return where an approximate label map shows single nuclei for sure.

    A connected piece of foreground is one nucleus if it has one id and is all but
    convex.

    Returns
    -------
    (Y, X) bool
        True in such pieces and in the background.
    """
    pieces = connected_components(labels > 0, connectivity=2)
    trusted = np.ones(pieces.max() + 1, np.bool_)
    for piece, box in enumerate(find_objects(pieces), 1):
        mask = pieces[box] == piece
        ids = labels[box][mask]
        trusted[piece] = bool((ids == ids[0]).all()) and solidity(mask) >= SOLID
    shown: Mask = trusted[pieces]
    return shown


def solidity(mask: Mask) -> float:
    """Return the share of its convex hull that a piece fills, in whole pixels."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return float(np.count_nonzero(mask) / np.count_nonzero(hull))


def at_mpp(annotated: Annotated, mpp: float) -> Annotated:
    """Return image and annotation resampled to ``mpp``.

    Images shrink by area averages; labels and types take the nearest pixel.

    Raises
    ------
    DatasetError
        If the image's own mpp isn't known.
    """
    own = mpp_of(annotated.sample)
    height, width = annotated.labels.shape
    size = (max(1, round(width * own / mpp)), max(1, round(height * own / mpp)))
    if size == (width, height):
        return annotated
    return _resized(annotated, size, cv2.INTER_AREA if own < mpp else cv2.INTER_LINEAR)


def mpp_of(sample: Sample) -> float:
    """Return the micrometres per pixel of an image.

    Raises
    ------
    DatasetError
        If they aren't known.
    """
    if sample.mpp is None:
        message = (
            f"{sample.set} {sample.id} has no mpp in the manifest; "
            "write it there, or give the set an mpp in the recipe."
        )
        raise DatasetError(message)
    return sample.mpp


def _resized(annotated: Annotated, size: tuple[int, int], smooth: int) -> Annotated:

    def nearest(plane: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(
            cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST_EXACT)
        )

    known = annotated.known
    return Annotated(
        sample=annotated.sample,
        image=np.asarray(cv2.resize(annotated.image, size, interpolation=smooth)),
        labels=nearest(annotated.labels.astype(np.uint16)).astype(np.int32),
        types=None if annotated.types is None else nearest(annotated.types),
        reliable=nearest(annotated.reliable.astype(np.uint8)).astype(np.bool_),
        known=None if known is None else nearest(known.astype(np.uint8)) > 0,
    )
