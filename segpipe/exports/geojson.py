"""GeoJSON as QuPath reads it: a detection per nucleus, with its type and measurements.

Coordinates are level-0 pixels, which is what QuPath places objects in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import shapely

from segpipe.exports._export import Export
from segpipe.exports._features import classified, detection, writing_features
from segpipe.tables.palette import colour_of
from segpipe.tables.reading import iter_nuclei
from segpipe.tables.schema import COLUMNS

MEASUREMENTS = [column.name for column in COLUMNS if column.dtype == "float32"]
"""Columns that become measurements of the detection, under their own names."""
_DECIMALS = 6


def write(out_dir: Path, slide_id: str, path: Path) -> None:
    """Write a feature collection, row group by row group, so that memory stays flat."""
    with writing_features(path) as append:
        for nuclei in iter_nuclei(out_dir, slide_id):
            append(_features(nuclei))


def _features(nuclei: pd.DataFrame) -> Iterator[str]:
    """Yield a JSON text per nucleus."""
    outlines = shapely.to_geojson(shapely.from_wkb(nuclei["geometry"].to_numpy()))
    types = [
        _classification(type_id, name)
        for type_id, name in zip(nuclei["type_id"], nuclei["type_name"], strict=True)
    ]
    for outline, nucleus_id, classification, measurements in zip(
        outlines, nuclei["nucleus_id"], types, _measurements(nuclei), strict=True
    ):
        yield detection(
            outline,
            str(nucleus_id),
            classification=classification,
            measurements=measurements,
        )


def _classification(type_id: int, name: str) -> str:
    """Return the type as a JSON member; nothing for nuclei without a type."""
    return classified(name, colour_of(type_id)) if type_id else ""


def _measurements(nuclei: pd.DataFrame) -> list[str]:
    """Return a JSON object per nucleus, without the columns that don't apply."""
    known = nuclei[MEASUREMENTS].dropna(axis="columns")
    text = known.to_json(orient="records", lines=True, double_precision=_DECIMALS)
    return text.splitlines()


EXPORT = Export(
    name="geojson",
    extensions=(".geojson", ".geojson.gz"),
    description="QuPath, QGIS and most viewers",
    write=write,
)
