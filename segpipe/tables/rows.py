"""Rows of the nuclei table in memory, as Arrow tables of the declared schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from segpipe.errors import ShapeMismatch
from segpipe.tables.schema import COLUMNS, DICTIONARY_COLUMNS, Column, Columns, Packed

Rows: TypeAlias = pa.Table
"""Rows of nuclei with the columns of the schema, strings not yet as codes."""

_TYPES = {
    "uint8": pa.uint8(),
    "uint32": pa.uint32(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "wkb": pa.binary(),
}
_CODES = pa.dictionary(pa.int32(), pa.string())
"""What Arrow takes the ``slide_id=`` of a folder for, so that file and folder agree."""


def rows_schema() -> pa.Schema:
    """Return the schema of rows in memory and of parts."""
    return pa.schema([_field(column, _TYPES[column.dtype]) for column in COLUMNS])


def file_schema() -> pa.Schema:
    """Return the schema of a nuclei file: as in memory, but strings as codes."""
    types = dict.fromkeys(DICTIONARY_COLUMNS, _CODES)
    return pa.schema(
        [
            _field(column, types.get(column.name, _TYPES[column.dtype]))
            for column in COLUMNS
        ]
    )


def to_rows(columns: Columns) -> Rows:
    """Turn measured columns into rows of the declared types.

    Raises
    ------
    ShapeMismatch
        If a column is missing, unknown, or longer than another.
    """
    schema = rows_schema()
    missing = sorted(set(schema.names) - set(columns))
    unknown = sorted(set(columns) - set(schema.names))
    if missing or unknown:
        message = (
            f"A row has the {len(schema.names)} columns of the schema; of these "
            f"columns {missing} are missing and {unknown} unknown."
        )
        raise ShapeMismatch(message)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        message = f"Columns of one table are equally long; these are {lengths}."
        raise ShapeMismatch(message)
    arrays = [_to_array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def in_order(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several parts, ascending in ``nucleus_id``."""
    rows = pa.concat_tables([rows_schema().empty_table(), *parts])
    return rows.take(pc.sort_indices(rows, [("nucleus_id", "ascending")]))


def _field(column: Column, type_: pa.DataType) -> pa.Field:
    meaning = {"unit": column.unit, "meaning": column.meaning}
    return pa.field(column.name, type_, nullable=False, metadata=meaning)


def _to_array(column: NDArray[Any] | Packed, type_: pa.DataType) -> pa.Array:
    if isinstance(column, Packed):
        offsets = pa.py_buffer(column.offsets.astype(np.int32))
        buffers = [None, offsets, pa.py_buffer(column.buffer)]
        return pa.Array.from_buffers(type_, len(column), buffers)
    if pa.types.is_string(type_):
        return pa.array(column.astype(object), type_)
    return pa.array(np.ascontiguousarray(column, type_.to_pandas_dtype()))
