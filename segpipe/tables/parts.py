"""Rows of single tiles on scratch disk, and how they become one table in id order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import StoreDamaged
from segpipe.stores.durable import replacing
from segpipe.tables.arrow import Rows, rows_schema, to_rows
from segpipe.tables.schema import Columns


def write_part(path: Path, columns: Columns) -> None:
    """Write the rows of a tile, whole or not at all.

    Parameters
    ----------
    path
        Arrow file to write; an older one is replaced.
    columns
        As measured, ascending in ``nucleus_id``.
    """
    rows = to_rows(columns)
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with (
        replacing(path) as temporary,
        pa.ipc.new_file(str(temporary), rows.schema, options=options) as writer,
    ):
        writer.write_table(rows)


def read_part(path: Path) -> Rows:
    """Read the rows of a tile.

    Raises
    ------
    StoreDamaged
        If the file is missing, damaged, or of another schema.
    """
    try:
        with pa.OSFile(str(path)) as file:
            rows = pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        message = (
            f"Rows of a tile can't be read from {path}: {error}. "
            "Delete the file and run again; the tile is measured anew."
        )
        raise StoreDamaged(message) from error
    if not rows.schema.equals(rows_schema()):
        message = (
            f"{path} holds columns of another version of segpipe. "
            "Delete the file and run again; the tile is measured anew."
        )
        raise StoreDamaged(message)
    return rows


def merge_parts(paths: Iterable[Path]) -> Iterator[Rows]:
    """Yield the rows of all parts, ascending in ``nucleus_id`` throughout.

    Ids ascend in raster order of the slide, so the ids of one row of tiles interleave
    while the next row's come after. Rows are held back only while a part that isn't
    read yet may precede them: memory grows with one row of tiles, not with the slide.

    Parameters
    ----------
    paths
        Parts in any order, each ascending; none shares an id with another.

    Raises
    ------
    StoreDamaged
        If a part can't be read.
    """
    starts = sorted((_first_id(path), path) for path in paths)
    pending = rows_schema().empty_table()
    for first, path in starts:
        ready = pc.less(pending["nucleus_id"], pa.scalar(first, pa.uint32()))
        n_ready = pc.sum(ready).as_py() or 0
        if n_ready:
            yield pending.slice(0, n_ready)
        pending = _in_id_order(pending.slice(n_ready), read_part(path))
    if pending.num_rows:
        yield pending


def _first_id(path: Path) -> int:
    """Return the smallest id of a part; 0 if it has no rows."""
    ids = read_part(path)["nucleus_id"]
    return ids[0].as_py() if len(ids) else 0


def _in_id_order(left: Rows, right: Rows) -> Rows:
    both = pa.concat_tables([left, right])
    return both.take(pc.sort_indices(both, [("nucleus_id", "ascending")]))
