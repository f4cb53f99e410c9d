"""Nuclei on disk: parts of tiles, and the one GeoParquet file of a slide."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.errors import StageFailed, StoreDamaged
from segpipe.stores.durable import replacing
from segpipe.stores.sealed import read_sealed, seal
from segpipe.tables.rows import Rows, file_schema, rows_schema, to_rows
from segpipe.tables.schema import COLUMNS, DICTIONARY_COLUMNS, SCHEMA_VERSION, Columns

ROW_GROUP_ROWS = 65_536
"""Rows in every row group but the last."""
PART_BATCH_ROWS = 1024
"""Rows of a part that are read together."""
_ZSTD_LEVEL = 3


def write_part(path: Path, columns: Columns) -> None:
    """Write the rows of a tile, whole or not at all.

    Parameters
    ----------
    path
        Arrow file to write; an older one is replaced.
    columns
        As measured.
    """
    rows = to_rows(columns)
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with replacing(path) as temporary:
        with pa.ipc.new_file(str(temporary), rows.schema, options=options) as writer:
            writer.write_table(rows, max_chunksize=PART_BATCH_ROWS)
        seal(temporary)


def read_part(path: Path, rows: range) -> Rows:
    """Read some rows of a tile, one after the other.

    Raises
    ------
    StoreDamaged
        If the file is missing, damaged, of another schema, or has fewer rows.
    """
    first, last = rows.start // PART_BATCH_ROWS, -(-rows.stop // PART_BATCH_ROWS)
    try:
        reader = pa.ipc.open_file(read_sealed(path))
        batches = [reader.get_batch(number) for number in range(first, last)]
    except (OSError, ValueError) as error:
        message = (
            f"The rows of a tile can't be read from {path}: {error}. "
            "Run again: the tile is measured anew."
        )
        raise StoreDamaged(message) from error
    if not reader.schema.equals(rows_schema()):
        message = (
            f"{path} holds the columns of another version of segpipe. "
            "Run again: the tile is measured anew."
        )
        raise StoreDamaged(message)
    before = first * PART_BATCH_ROWS
    table = pa.Table.from_batches(batches, reader.schema)
    if before + table.num_rows < rows.stop:
        message = (
            f"{path} has {before + table.num_rows} rows; row {rows.stop} was asked "
            "for. Run again: the tile is measured anew."
        )
        raise StoreDamaged(message)
    # Taken, not sliced: of a slice all would stay in memory.
    return table.take(np.arange(rows.start - before, rows.stop - before))


class TableWriter:
    """Writes the nuclei of one slide, some rows at a time.

    A context manager: the file appears under its name when the block ends well, and
    not at all otherwise. Row groups are cut at ``ROW_GROUP_ROWS`` however the rows
    come, and nothing of the time or the machine is written: equal rows, equal bytes.

    Parameters
    ----------
    path
        File to write; an older one is replaced.
    metadata
        What the file says of its making, beside the schema version.
    """

    def __init__(self, path: Path, *, metadata: Mapping[str, str]) -> None:
        self._path = path
        self._metadata = {
            "segpipe.schema_version": str(SCHEMA_VERSION),
            **{f"segpipe.{key}": metadata[key] for key in sorted(metadata)},
        }
        self._pending = rows_schema().empty_table()
        self._last_id = 0
        self._bbox: list[float] = []
        self._session = self._writing()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with (
            replacing(self._path) as temporary,
            _open_file(temporary, self._metadata) as self._file,
        ):
            yield
            if self._pending.num_rows:
                self._write(self._pending)
            self._file.add_key_value_metadata({"geo": _geo(self._bbox)})

    def __enter__(self) -> Self:
        self._session.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.__exit__(kind, error, trace)

    def append(self, rows: Rows | Columns) -> None:
        """Append nuclei.

        Parameters
        ----------
        rows
            Rows of parts or columns as measured; ids ascend, from call to call too.

        Raises
        ------
        StageFailed
            If an id doesn't ascend: a nucleus would be counted twice.
        """
        rows = rows if isinstance(rows, pa.Table) else to_rows(rows)
        if rows.num_rows == 0:
            return
        self._last_id = _ascending(rows, self._last_id, self._path)
        self._bbox = _bbox(rows, self._bbox)
        self._pending = pa.concat_tables([self._pending, rows])
        while self._pending.num_rows >= ROW_GROUP_ROWS:
            self._write(self._pending.slice(0, ROW_GROUP_ROWS))
            self._pending = self._pending.slice(ROW_GROUP_ROWS)

    def _write(self, rows: Rows) -> None:
        self._file.write_table(_coded(rows), row_group_size=ROW_GROUP_ROWS)


def _open_file(path: Path, metadata: Mapping[str, str]) -> pq.ParquetWriter:
    names = [column.name for column in COLUMNS]
    return pq.ParquetWriter(
        path,
        file_schema().with_metadata(metadata),
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=list(DICTIONARY_COLUMNS),
        write_statistics=[name for name in names if name != "geometry"],
        sorting_columns=[pq.SortingColumn(names.index("nucleus_id"))],
    )


def _coded(rows: Rows) -> pa.Table:
    """Return rows in one chunk with strings as codes, numbered by first appearance."""
    columns = {
        name: pa.concat_arrays(column.chunks)
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    for name in DICTIONARY_COLUMNS:
        columns[name] = columns[name].dictionary_encode()
    return pa.Table.from_arrays(list(columns.values()), schema=file_schema())


def _ascending(rows: Rows, last_id: int, path: Path) -> int:
    """Return the last id, if ids ascend from ``last_id``; refuse them otherwise."""
    ids = rows["nucleus_id"].to_numpy()
    if ids[0] <= last_id or (ids[1:] <= ids[:-1]).any():
        message = (
            f"Ids of nuclei must ascend in {path.name}: after {last_id} came "
            f"{ids[:4].tolist()} … {ids[-1]}. A nucleus would be counted twice; delete "
            "the slide's parts and run again."
        )
        raise StageFailed(message)
    return int(ids[-1])


def _bbox(rows: Rows, sofar: list[float]) -> list[float]:
    """Return xmin, ymin, xmax, ymax of rows and of what came before."""
    lows = [pc.min(rows[f"{axis}min_l0_px"]).as_py() for axis in "xy"]
    highs = [pc.max(rows[f"{axis}max_l0_px"]).as_py() for axis in "xy"]
    if not sofar:
        return lows + highs
    return [*map(min, lows, sofar[:2]), *map(max, highs, sofar[2:])]


def _geo(bbox: list[float]) -> str:
    """Return GeoParquet's metadata; the plane is the slide's own and has no CRS."""
    geometry: dict[str, object] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": None,
        "edges": "planar",
        "orientation": "counterclockwise",
    }
    if bbox:
        geometry |= {"bbox": bbox}
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": geometry},
    }
    return json.dumps(geo)
