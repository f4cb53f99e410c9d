"""Tables of a comparison: a row per nucleus of either run, and a row per slide."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segpipe.metrics.overlap import Floats
from segpipe.stores.durable import replacing

MATCHED, OTHER_TYPE, ONLY_A, ONLY_B = "matched", "other type", "only A", "only B"
STATUSES = (MATCHED, OTHER_TYPE, ONLY_A, ONLY_B)
"""What may become of a nucleus."""
PAIR_COLUMNS = {
    "slide_id": pa.dictionary(pa.int32(), pa.string()),
    "id_a": pa.uint32(),
    "id_b": pa.uint32(),
    "status": pa.dictionary(pa.int32(), pa.string()),
    "iou": pa.float64(),
    "distance_um": pa.float64(),
    "y_l0_px": pa.float64(),
    "x_l0_px": pa.float64(),
    "area_a_um2": pa.float32(),
    "area_b_um2": pa.float32(),
    "type_a": pa.dictionary(pa.int32(), pa.string()),
    "type_b": pa.dictionary(pa.int32(), pa.string()),
}
"""Columns of ``nuclei.parquet`` of a comparison; null where a run has no nucleus."""
_SIDE = ("nucleus_id", "y_l0_px", "x_l0_px", "area_um2", "type_name")
READ_COLUMNS = (*_SIDE, "ymin_l0_px", "geometry")
"""Columns of the runs' tables that a comparison needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """Rows of the tables of two runs, by what became of the nuclei."""

    a: pd.DataFrame
    """Nuclei of A that are matched."""
    b: pd.DataFrame
    """Their partners, in the same order."""
    iou: Floats
    """IoU of each pair; NaN if paired by centres."""
    only_a: pd.DataFrame
    only_b: pd.DataFrame
    best_iou_a: Floats
    """Of each nucleus only in A the largest IoU with any of B."""
    best_iou_b: Floats


def pair_rows(slide_id: str, met: Met, um_per_l0_px: float) -> pd.DataFrame:
    """Return a row for each pair and each nucleus without a partner, by position."""
    n = len(met.a), len(met.only_a), len(met.only_b)
    a = _side(pd.concat([met.a, met.only_a, _blank(n[2])], ignore_index=True), "a")
    b = _side(pd.concat([met.b, _blank(n[1]), met.only_b], ignore_index=True), "b")
    y, x = (np.stack([a.pop(f"{axis}_l0_px"), b.pop(f"{axis}_l0_px")]) for axis in "yx")
    apart = np.hypot(y[0] - y[1], x[0] - x[1]) * um_per_l0_px
    rows = pd.DataFrame(
        {
            "slide_id": slide_id,
            "status": np.repeat([MATCHED, ONLY_A, ONLY_B], n),
            "iou": np.concatenate([met.iou, met.best_iou_a, met.best_iou_b]),
            "distance_um": apart,
            "y_l0_px": np.nanmean(y, axis=0),
            "x_l0_px": np.nanmean(x, axis=0),
        }
    )
    rows = pd.concat([rows, a, b], axis=1)[list(PAIR_COLUMNS)]
    rows.loc[differ(rows["type_a"], rows["type_b"]), "status"] = OTHER_TYPE
    return rows.sort_values(["y_l0_px", "x_l0_px", "iou"], ignore_index=True)


def differ(type_a: pd.Series[Any], type_b: pd.Series[Any]) -> NDArray[np.bool_]:
    """Say of pairs of types whether both are said, and not the same."""
    a, b = (types.astype(object).fillna("").to_numpy() for types in (type_a, type_b))
    return np.asarray((a != "") & (b != "") & (a != b), np.bool_)


def _blank(n: int) -> pd.DataFrame:
    return pd.DataFrame({name: [None] * n for name in _SIDE})


def _side(rows: pd.DataFrame, side: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            f"id_{side}": rows["nucleus_id"].astype("UInt32"),
            "y_l0_px": rows["y_l0_px"].astype(np.float64),
            "x_l0_px": rows["x_l0_px"].astype(np.float64),
            f"area_{side}_um2": rows["area_um2"].astype(np.float32),
            f"type_{side}": rows["type_name"].astype(object),
        }
    )


class PairWriter(Protocol):
    """Appends rows of pairs to a file."""

    def __call__(self, rows: pd.DataFrame) -> None:
        """Append some rows."""


@contextmanager
def writing_pairs(path: Path) -> Iterator[PairWriter]:
    """Write ``nuclei.parquet`` of a comparison, some rows at a time, whole or not."""
    schema = pa.schema(PAIR_COLUMNS)
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as file,
    ):

        def append(rows: pd.DataFrame) -> None:
            if len(rows):
                table = pa.Table.from_pandas(rows, schema, preserve_index=False)
                file.write_table(table)

        yield append


def iter_pairs(
    path: Path, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Yield rows of ``nuclei.parquet`` of a comparison, a row group at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns).to_pandas()


def read_pairs(
    path: Path, slide_id: str, box: tuple[float, float, float, float]
) -> pd.DataFrame:
    """Read the nuclei of a slide whose position lies in y0, x0, y1, x1."""
    y0, x0, y1, x1 = box
    where = [
        ("slide_id", "==", slide_id),
        ("y_l0_px", ">=", y0),
        ("y_l0_px", "<", y1),
        ("x_l0_px", ">=", x0),
        ("x_l0_px", "<", x1),
    ]
    rows: pd.DataFrame = pq.read_table(path, filters=where).to_pandas()
    return rows


def slides_of(path: Path) -> list[str]:
    """Return the slides of a ``compare.parquet``; none if there is no such file."""
    try:
        return list(pq.read_table(path, columns=["slide_id"])["slide_id"].to_pylist())
    except (OSError, pa.ArrowException):
        return []


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a row per slide; what is no number or text is written as JSON."""
    plain = [{name: _plain(value) for name, value in record.items()} for record in rows]
    with replacing(path) as temporary:
        pd.DataFrame(plain).to_parquet(temporary, compression="zstd", index=False)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a value of JSON
    return json.dumps(value) if isinstance(value, dict | list | tuple) else value
