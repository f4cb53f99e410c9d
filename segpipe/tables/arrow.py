"""Rows of the nuclei table in memory, as Arrow tables of the declared schema."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segpipe.errors import ShapeMismatch
from segpipe.tables.schema import COLUMNS, DICTIONARY_COLUMNS, Column, Columns, Packed

Rows = pa.Table
"""Rows of nuclei: the columns of the schema but ``slide_id``, strings not yet coded."""

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
    """Return the schema of ``Rows``."""
    columns = [column for column in COLUMNS if column.name != "slide_id"]
    return pa.schema([_field(column, _TYPES[column.dtype]) for column in columns])


def file_schema() -> pa.Schema:
    """Return the schema of a nuclei file: all columns, few-valued ones as codes."""
    return pa.schema(
        [
            _field(
                column,
                _CODES if column.name in DICTIONARY_COLUMNS else _TYPES[column.dtype],
            )
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
    if set(columns) != set(schema.names):
        message = (
            f"The table needs the columns {sorted(schema.names)}; "
            f"missing {sorted(set(schema.names) - set(columns))}, "
            f"unknown {sorted(set(columns) - set(schema.names))}."
        )
        raise ShapeMismatch(message)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        message = f"Columns of one table are equally long; these are {lengths}."
        raise ShapeMismatch(message)
    arrays = [_to_array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


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
