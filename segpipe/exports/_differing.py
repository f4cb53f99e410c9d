"""The nuclei on which two runs differ, as detections for QuPath."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import shapely

from segpipe.exports._features import classified, detection
from segpipe.metrics.overlap import Floats
from segpipe.tables.pairs import ONLY_A, ONLY_B, Met, differ
from segpipe.tables.palette import IN_A, IN_B, OTHER_TYPE, RGBTriple

_DECIMALS = 4


def differing(met: Met) -> Iterator[str]:
    """Yield a feature for each nucleus that one run has alone, or types otherwise.

    A nucleus that is typed otherwise has its outline in A, and both types for a class.
    """
    for rows, run, name, colour, best_iou in (
        (met.only_a, "A", ONLY_A, IN_A, met.best_iou_a),
        (met.only_b, "B", ONLY_B, IN_B, met.best_iou_b),
    ):
        names = [f"{run} {nucleus_id}" for nucleus_id in rows["nucleus_id"]]
        yield from _features(rows, names, [name] * len(rows), colour, iou=best_iou)
    at = differ(met.a["type_name"], met.b["type_name"])
    a, b = met.a[at], met.b[at]
    names = [
        f"A {one}, B {other}"
        for one, other in zip(a["nucleus_id"], b["nucleus_id"], strict=True)
    ]
    types = [
        f"{one} in A, {other} in B"
        for one, other in zip(a["type_name"], b["type_name"], strict=True)
    ]
    yield from _features(a, names, types, OTHER_TYPE, iou=met.iou[at])


def _features(
    rows: pd.DataFrame,
    names: list[str],
    classes: list[str],
    colour: RGBTriple,
    *,
    iou: Floats,
) -> Iterator[str]:
    outlines = shapely.to_geojson(
        shapely.from_wkb(rows["geometry"].to_numpy(object)).astype(object)
    )
    areas = rows["area_um2"].to_numpy(np.float64)
    for outline, name, type_, area, value in zip(
        outlines, names, classes, areas, iou, strict=True
    ):
        measured = {"area_um2": round(float(area), _DECIMALS)}
        if not math.isnan(value):
            measured["iou"] = round(float(value), _DECIMALS)
        yield detection(
            outline,
            name,
            classification=classified(type_, colour),
            measurements=json.dumps(measured),
        )
