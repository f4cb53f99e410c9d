"""Instances one by one: how deep their pixels lie, their boxes and their masks."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from segpipe.arrays import LabelMap, Mask
from segpipe.targets._dense import dense_ids


def distance_target(labels: LabelMap) -> NDArray[np.float32]:
    """Return how deep each pixel lies in its instance, 1 at the deepest.

    Distances run to the nearest pixel outside the instance; what lies beyond the patch
    is outside.

    Parameters
    ----------
    labels : (Y, X) int

    Returns
    -------
    (Y, X) float32
        In (0, 1] inside instances, 0 outside.

    References
    ----------
    Naylor et al. 2019, *Segmentation of nuclei by deep regression of the distance map*,
    here normalised by each instance's largest distance.
    """
    target = np.zeros(labels.shape, np.float32)
    for box, mask in _instances(labels):
        framed = np.pad(mask.astype(np.uint8), 1)
        depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        inside = depth[1:-1, 1:-1][mask]
        target[box][mask] = inside / inside.max()
    return target


def boxes_target(labels: LabelMap) -> NDArray[np.float32]:
    """Return the box of each instance, in ascending order of ids.

    Parameters
    ----------
    labels : (Y, X) int

    Returns
    -------
    (N, 4) float32
        y0, x0, y1, x1 in pixels, half-open.
    """
    corners = [
        (rows.start, cols.start, rows.stop, cols.stop)
        for (rows, cols), _ in _instances(labels)
    ]
    return np.asarray(corners, np.float32).reshape(-1, 4)


def masks_target(labels: LabelMap) -> NDArray[np.bool_]:
    """Return the mask of each instance, in the order of ``boxes_target``.

    Parameters
    ----------
    labels : (Y, X) int

    Returns
    -------
    (N, Y, X) bool
    """
    ids = np.unique(labels[labels > 0])
    masks: NDArray[np.bool_] = labels == ids[:, None, None]
    return masks


def _instances(labels: LabelMap) -> Iterator[tuple[tuple[slice, slice], Mask]]:
    """Yield each instance's box and its mask in the box, in ascending order of ids."""
    dense = dense_ids(labels)
    for label, box in enumerate(find_objects(dense), 1):
        yield box, dense[box] == label
