"""The nuclei file of one slide: GeoParquet, the same bytes however it was computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segpipe.errors import StageFailed
from segpipe.stores.durable import replacing
from segpipe.tables.arrow import Rows, file_schema, rows_schema, to_rows
from segpipe.tables.schema import DICTIONARY_COLUMNS, SCHEMA_VERSION, Columns

ROW_GROUP_ROWS = 65_536
"""Rows in every row group but the last."""
ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMetadata:
    """What a nuclei file says of its making. No time, no host: equal runs, equal bytes."""

    slide_id: str
    """The slide; also a column."""
    mpp: float
    """Micrometres per canvas pixel: the resolution at which nuclei were outlined."""
    downsample: float
    """Level-0 pixels per canvas pixel."""
    slide_mpp: float
    """Micrometres per level-0 pixel."""
    slide_shape: tuple[int, int]
    """Height and width of level 0."""
    network: str
    """Name of the network."""
    weights_sha256: str
    """Its weights."""
    types: tuple[str, ...] = ()
    """Names of the types: type 1 is the first."""
    settings: Mapping[str, Any]
    """Settings that the nuclei depend on; plain JSON values."""


class TableWriter:
    """Writes the nuclei of one slide, a few rows at a time.

    A context manager: the file appears under its name when the block ends well, and not
    at all otherwise. Row groups are cut at ``ROW_GROUP_ROWS`` however the rows come.

    Parameters
    ----------
    path
        File to write; an older one is replaced.
    metadata
        What the file says of its making.
    """

    def __init__(self, path: Path, *, metadata: TableMetadata) -> None:
        self._path = path
        self._metadata = metadata
        self._pending = rows_schema().empty_table()
        self._last_id = 0
        self._bounds: _Bounds | None = None
        self._n_rows = 0

    @property
    def n_rows(self) -> int:
        """Rows so far."""
        return self._n_rows

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        temporary = self._stack.enter_context(replacing(self._path))
        self._file = self._stack.enter_context(_open_file(temporary))
        return self

    def append(self, rows: Rows | Columns) -> None:
        """Append nuclei.

        Parameters
        ----------
        rows
            Measured columns or rows of parts; ids ascend from call to call.

        Raises
        ------
        StageFailed
            If an id doesn't ascend: a nucleus would be counted twice.
        """
        rows = rows if isinstance(rows, pa.Table) else to_rows(rows)
        if rows.num_rows == 0:
            return
        self._refuse_repeated(rows)
        self._bounds = _bounds(rows) | self._bounds if self._bounds else _bounds(rows)
        self._n_rows += rows.num_rows
        self._pending = pa.concat_tables([self._pending, rows])
        while self._pending.num_rows >= ROW_GROUP_ROWS:
            self._write(self._pending.slice(0, ROW_GROUP_ROWS))
            self._pending = self._pending.slice(ROW_GROUP_ROWS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            ...
