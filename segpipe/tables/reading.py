"""Reading nuclei back: into pandas, by slide, column and row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import shapely

from segpipe.errors import SettingsError, SlideNotFound, StoreDamaged
from segpipe.tables.rows import file_schema

Filters = Sequence[tuple[str, str, Any]] | Sequence[Sequence[tuple[str, str, Any]]]
"""``[("area_um2", ">", 20), …]``: all hold; or a list of such lists: one of them."""


def read_nuclei(
    out_dir: str | PathLike[str],
    slide_id: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    filters: Filters | ds.Expression | None = None,
    *,
    geometry: bool = False,
) -> pd.DataFrame:
    """Read the nuclei of a run.

    Parameters
    ----------
    out_dir
        Result folder of the run.
    slide_id
        One slide or several; all of them by default.
    columns
        Columns to read; all of them by default.
    filters
        Rows to read, as for ``pandas.read_parquet``: ``[("area_um2", ">", 20)]``.
        Columns that are not read may be used.
    geometry
        Turn the outlines into shapely polygons, x before y in level-0 pixels. They are
        left as Well-Known Binary otherwise, which is much faster.

    Returns
    -------
    pandas.DataFrame
        A row per nucleus, ascending in ``slide_id``, then ``nucleus_id``.

    Raises
    ------
    SlideNotFound
        If there is no table of a slide, or none at all.
    SettingsError
        If there is no column of that name.
    StoreDamaged
        If a file can't be read.
    """
    paths = _tables(Path(out_dir), slide_id)
    names = _known_columns(columns)
    where = (
        pq.filters_to_expression(filters) if isinstance(filters, Sequence) else filters
    )
    dataset = ds.dataset(paths, schema=file_schema(), format="parquet")
    try:
        nuclei = dataset.to_table(columns=names, filter=where).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise StoreDamaged(_unreadable(out_dir, error)) from error
    return _with_polygons(nuclei) if geometry else nuclei


def iter_nuclei(
    out_dir: str | PathLike[str],
    slide_id: str,
    columns: Sequence[str] | None = None,
    *,
    geometry: bool = False,
) -> Iterator[pd.DataFrame]:
    """Yield the nuclei of a slide, a row group at a time, so that memory stays flat.

    Parameters and errors are those of ``read_nuclei``. A slide without nuclei yields
    nothing.
    """
    (path,) = _tables(Path(out_dir), slide_id)
    names = _known_columns(columns)
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                nuclei = file.read_row_group(group, columns=names).to_pandas()
                yield _with_polygons(nuclei) if geometry else nuclei
    except (OSError, pa.ArrowException) as error:
        raise StoreDamaged(_unreadable(out_dir, error)) from error


def read_metadata(out_dir: str | PathLike[str], slide_id: str) -> dict[str, str]:
    """Return what the table of a slide says of its making, by key.

    Raises
    ------
    SlideNotFound
        If there is no table of the slide.
    """
    (path,) = _tables(Path(out_dir), slide_id)
    stored = pq.read_metadata(path).metadata
    return {
        key.decode().removeprefix("segpipe."): value.decode()
        for key, value in sorted(stored.items())
        if key.startswith(b"segpipe.")
    }


def slide_ids(out_dir: str | PathLike[str]) -> list[str]:
    """Return the slides that have a table, in order."""
    folders = (Path(out_dir) / "nuclei").glob("slide_id=*/part-0.parquet")
    return sorted(path.parent.name.removeprefix("slide_id=") for path in folders)


def _tables(out_dir: Path, slide_id: str | Sequence[str] | None) -> list[Path]:
    found = slide_ids(out_dir)
    if not found:
        message = (
            f"No nuclei in {out_dir}: there is no nuclei/slide_id=…/part-0.parquet. "
            "Give the folder that was --out of a run."
        )
        raise SlideNotFound(message)
    wanted = found if slide_id is None else _as_list(slide_id)
    for name in wanted:
        if name not in found:
            raise SlideNotFound(_no_such_slide(name, found, out_dir))
    return [
        out_dir / "nuclei" / f"slide_id={name}" / "part-0.parquet" for name in wanted
    ]


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else sorted(names)


def _no_such_slide(name: str, found: list[str], out_dir: Path) -> str:
    shown = get_close_matches(name, found, 3) or found[:10]
    more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    return (
        f"No nuclei of slide {name!r} in {out_dir}. There are {len(found)} slides: "
        f"{', '.join(shown)}{more}."
    )


def _known_columns(columns: Sequence[str] | None) -> list[str] | None:
    if columns is None:
        return None
    names = file_schema().names
    for name in columns:
        if name not in names:
            close = get_close_matches(name, names, 3) or names
            message = (
                f"Nuclei have no column {name!r}. Did you mean {', '.join(close)}?"
            )
            raise SettingsError(message)
    return list(columns)


def _with_polygons(nuclei: pd.DataFrame) -> pd.DataFrame:
    if "geometry" not in nuclei:
        return nuclei
    return nuclei.assign(geometry=shapely.from_wkb(nuclei["geometry"].to_numpy()))


def _unreadable(out_dir: str | PathLike[str], error: Exception) -> str:
    return (
        f"Nuclei in {out_dir} can't be read: {error}. Delete the slide's folder under "
        "nuclei/ and run again; only that slide is computed anew."
    )
