"""The manifest of annotated images: a CSV with a row per image, checked when read."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segpipe.errors import DatasetError

COLUMNS = ("set", "id", "split", "image", "labels")
"""Columns that a manifest must have; types, mpp, organ, instances and known may
be missing."""
EXACT, APPROXIMATE = "exact", "approximate"
"""What the column instances may say: drawn one by one, or not."""
Line = tuple[int, dict[str, str]]
"""A row and the number of its line in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One annotated image: a row of a manifest."""

    set: str
    """Name of the data set."""
    id: str
    split: str
    """``"train"`` or ``"dev"`` or whatever the manifest says."""
    image: Path
    labels: Path
    types: Path | None = None
    mpp: float | None = None
    """Micrometres per pixel, if stated."""
    known: Path | None = None
    """A mask, nonzero where the annotation says anything; None: everywhere."""
    organ: str = ""
    exact: bool = True
    """Whether instances were drawn; else only the foreground can be trusted."""
    classes: tuple[int, ...] | None = None
    """For each type of the file (1, 2, ...) the type to use; empty: don't read the
    types; None: use them as they are."""


def read_manifest(
    path: Path, *, held_out: Mapping[str, Collection[str]] | None = None
) -> tuple[Sample, ...]:
    """Read a manifest; its paths are relative to its folder.

    Parameters
    ----------
    path
        CSV file.
    held_out
        By set, ids whose split becomes ``"dev"`` whatever the manifest says.

    Raises
    ------
    DatasetError
        If the file is missing, lacks a column, has no row or names missing files; if a
        row lacks a cell, says nothing that can be meant, or names an image again. The
        message names the line.
    """
    lines = _lines(path)
    _check_columns(path, [row for _, row in lines])
    _check_cells(path, lines)
    _check_once(path, lines)
    samples = tuple(_sample(row, path, number) for number, row in lines)
    _check_files(path, samples)
    moved = held_out or {}
    return tuple(
        replace(s, split="dev") if s.id in moved.get(s.set, ()) else s for s in samples
    )


def _lines(path: Path) -> list[Line]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        message = f"The manifest {path} is no CSV of UTF-8 text: {error}."
        raise DatasetError(message) from error
    except OSError as error:
        message = (
            f"No manifest can be read at {path}: {error.strerror}. "
            "A recipe's is looked for in the current folder; --manifest names another."
        )
        raise DatasetError(message) from error


def _check_columns(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    if not rows:
        message = f"The manifest {path} has no row."
        raise DatasetError(message)
    missing = [name for name in COLUMNS if name not in rows[0]]
    if missing:
        message = (
            f"The manifest {path} lacks the columns {', '.join(missing)}; "
            f"it has {', '.join(map(str, rows[0]))}."
        )
        raise DatasetError(message)


def _check_cells(path: Path, lines: Sequence[Line]) -> None:
    """Refuse rows with fewer or more cells than columns, or without what each needs."""
    for number, row in lines:
        if None in row:
            message = f"{path}, line {number} has more cells than there are columns."
            raise DatasetError(message)
        missing = [name for name, cell in row.items() if cell is None]
        missing += [name for name in COLUMNS if row[name] == ""]
        if missing:
            message = f"{path}, line {number} lacks {', '.join(missing)}."
            raise DatasetError(message)


def _check_once(path: Path, lines: Sequence[Line]) -> None:
    first: dict[tuple[str, str], int] = {}
    for number, row in lines:
        key = row["set"], row["id"]
        if key in first:
            message = (
                f"{path}, line {number} has the image {row['id']} of {row['set']} "
                f"again, which is in line {first[key]}. Give each its own id."
            )
            raise DatasetError(message)
        first[key] = number


def _sample(row: Mapping[str, str], path: Path, number: int) -> Sample:
    folder = path.parent
    types, known = row.get("types", ""), row.get("known", "")
    return Sample(
        set=row["set"],
        id=row["id"],
        split=row["split"],
        image=folder / row["image"],
        labels=folder / row["labels"],
        types=folder / types if types else None,
        known=folder / known if known else None,
        mpp=_mpp(row, path, number),
        organ=row.get("organ", ""),
        exact=_is_exact(row, path, number),
    )


def _mpp(row: Mapping[str, str], path: Path, number: int) -> float | None:
    text = row.get("mpp", "")
    if not text:
        return None
    try:
        mpp = float(text)
    except ValueError:
        mpp = math.nan
    if not (math.isfinite(mpp) and mpp > 0):
        message = (
            f"{path}, line {number}: {row['set']} {row['id']} has mpp {text!r}, not a "
            "length."
        )
        raise DatasetError(message)
    return mpp


def _is_exact(row: Mapping[str, str], path: Path, number: int) -> bool:
    text = row.get("instances", "")
    said = text.strip().lower() or EXACT
    if said not in {EXACT, APPROXIMATE}:
        message = (
            f"{path}, line {number}: {row['set']} {row['id']} has instances {text!r}; "
            f"they are {EXACT} (or nothing) or {APPROXIMATE}."
        )
        raise DatasetError(message)
    return said == EXACT


def _check_files(path: Path, samples: tuple[Sample, ...]) -> None:
    named = [f for s in samples for f in (s.image, s.labels, s.types, s.known)]
    missing = [f for f in named if f is not None and not f.is_file()]
    if missing:
        message = (
            f"The manifest {path} names {len(missing)} files that do not exist, "
            f"the first is {missing[0]}."
        )
        raise DatasetError(message)
