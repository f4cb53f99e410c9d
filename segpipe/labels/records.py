"""What is known of each instance of a tile without looking at its neighbours.

Every field adds up over tiles: areas and probabilities by sum, the others by minimum or
maximum. A type is that of the whole in each part.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from segpipe.arrays import LabelMap, ProbMap
from segpipe.geometry import Box

InstanceRecords = NDArray[np.int64]
"""(N, N_COLUMNS) int64, a row per instance in order of id; columns as below."""

N_COLUMNS = 8
ANCHOR, AREA, YMIN, XMIN, YMAX, XMAX, PROB, TYPE = range(N_COLUMNS)
"""Columns: first pixel in raster order of the canvas (y * width + x), pixels, the
half-open extent in canvas pixels, the sum over its pixels of how probable they are in
units of 1/255, and the type if a detector said one, else 0."""


def instance_records(
    labels: LabelMap, prob: ProbMap, core: Box, canvas_width: int, n_labels: int
) -> InstanceRecords:
    """Record the instances of one tile core.

    Parameters
    ----------
    labels : (Y, X) int32
        Label map of the core, ids 1..n_labels, each present.
    prob : (Y, X) uint8
        How probable each pixel is, in units of 1/255.
    core : Box
        Where the core lies in the canvas.
    canvas_width : int
        Columns of the canvas, to number its pixels.
    n_labels : int
        Ids in the core.

    Returns
    -------
    (n_labels, N_COLUMNS) int64
        Row i is instance i + 1. Types are 0.
    """
    records = np.zeros((n_labels, N_COLUMNS), np.int64)
    records[:, ANCHOR] = np.iinfo(np.int64).max
    records[:, [YMIN, XMIN]] = np.iinfo(np.int64).max
    records[:, [YMAX, XMAX]] = -1
    corner = (core.y0, core.x0)
    _record(np.ascontiguousarray(labels), prob, corner, canvas_width, records)
    return records


@njit(cache=True, nogil=True)
def _record(
    labels: LabelMap,
    prob: ProbMap,
    corner: tuple[int, int],
    width: int,
    records: InstanceRecords,
) -> None:
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label != 0:
                row = records[label - 1]
                at_y, at_x = y + corner[0], x + corner[1]
                row[0] = min(row[0], at_y * width + at_x)
                row[1] += 1
                row[2] = min(row[2], at_y)
                row[3] = min(row[3], at_x)
                row[4] = max(row[4], at_y + 1)
                row[5] = max(row[5], at_x + 1)
                row[6] += prob[y, x]


def merge_records(
    records: InstanceRecords, group: NDArray[np.int64], n_groups: int
) -> InstanceRecords:
    """Merge the records of instances that are one.

    Parameters
    ----------
    records : (N, N_COLUMNS) int64
        Records of parts.
    group : (N,) int64
        Which whole each part belongs to, 0..n_groups - 1, each at least once.
    n_groups : int
        How many wholes there are.

    Returns
    -------
    (n_groups, N_COLUMNS) int64
        Records of wholes; a sum, minimum or maximum, so the order of parts is nothing.
    """
    merged = np.zeros((n_groups, N_COLUMNS), np.int64)
    merged[:, [ANCHOR, YMIN, XMIN]] = np.iinfo(np.int64).max
    for column in (AREA, PROB):
        np.add.at(merged[:, column], group, records[:, column])
    for column in (ANCHOR, YMIN, XMIN):
        np.minimum.at(merged[:, column], group, records[:, column])
    for column in (YMAX, XMAX, TYPE):
        np.maximum.at(merged[:, column], group, records[:, column])
    return merged
