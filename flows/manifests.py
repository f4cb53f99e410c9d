"""Manifests: a CSV that lists slides, with what their files don't say."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from segpipe.config import SlideRef
from segpipe.errors import SettingsError
from segpipe.stages.naming import slide_id_of

COLUMNS = ("path", "slide_id", "mpp", "tissue_mask")
"""Columns that mean something; ``path`` must be there, others are passed over."""
DELIMITERS = ",;\t"
"""What may stand between columns; the header decides."""
SHOWN_ERRORS = 5
"""Faulty lines named in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A slide as an input names it."""

    slide: SlideRef
    """The slide; its id may yet collide."""
    id_stays: bool = False
    """Whether the id stays as it is: chosen by a person, or used before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest lists."""

    slides: tuple[Listed, ...]
    """In the order of the lines."""
    ignored: tuple[str, ...]
    """Columns that mean nothing here."""


def read_manifest(path: Path) -> Manifest:
    """Read a manifest: ``path[,slide_id][,mpp][,tissue_mask]``, one slide a line.

    Relative paths are relative to the manifest. Empty lines and lines that begin with
    ``#`` are skipped.

    Raises
    ------
    SettingsError
        If it can't be read as such; the message names the lines.
    """
    header, *lines = _lines(path)
    delimiter = max(DELIMITERS, key=header[1].count)
    names = [
        name.strip() for name in next(csv.reader([header[1]], delimiter=delimiter))
    ]
    if "path" not in names or len(set(names)) < len(names):
        message = (
            f"Manifest {path}, line {header[0]}: the header is {header[1]!r}. It must "
            f"name a column 'path' and may name {', '.join(COLUMNS[1:])}, each once."
        )
        raise SettingsError(message)
    listed: list[Listed] = []
    faults: list[str] = []
    for number, line in lines:
        try:
            fields = next(csv.reader([line], delimiter=delimiter))
            listed.append(_listed(names, fields, path.parent))
        except ValueError as fault:
            faults.append(f"line {number}: {_plainly(fault)}")
    if faults or not listed:
        raise SettingsError(_refusal(path, faults))
    ignored = tuple(name for name in names if name not in COLUMNS)
    return Manifest(slides=tuple(listed), ignored=ignored)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that say something, numbered; the first is the header."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"Manifest {path} can't be read: {error}. It must be a CSV in UTF-8."
        raise SettingsError(message) from error
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        message = f"Manifest {path} is empty. Its first line must name a column 'path'."
        raise SettingsError(message)
    return lines


def _listed(names: list[str], fields: list[str], folder: Path) -> Listed:
    """Turn a line into a slide.

    Raises
    ------
    ValueError
        If a value won't do.
    """
    if len(fields) > len(names):
        message = f"{len(fields)} values for {len(names)} columns"
        raise ValueError(message)
    row = {
        name: value.strip()
        for name, value in zip(names, fields, strict=False)
        if name in COLUMNS and value.strip()
    }
    if "path" not in row:
        message = "no path"
        raise ValueError(message)
    slide = folder / row.pop("path")
    if "tissue_mask" in row:
        row["tissue_mask"] = str(folder / row["tissue_mask"])
    given = row.pop("slide_id", None)
    chosen = given or slide_id_of(slide)
    reference = SlideRef.model_validate({"id": chosen, "path": slide, **row})
    return Listed(slide=reference, id_stays=given is not None)


def _plainly(fault: ValueError) -> str:
    if not isinstance(fault, ValidationError):
        return str(fault)
    return ", ".join(
        f"{'slide_id' if found['loc'] == ('id',) else found['loc'][0]} "
        f"{found['input']!r}: {found['msg']}"
        for found in fault.errors()
    )


def _refusal(path: Path, faults: list[str]) -> str:
    if not faults:
        return f"Manifest {path} lists no slide below its header. Add a line for each."
    more = len(faults) - SHOWN_ERRORS
    tail = f"; and {more} more" if more > 0 else ""
    return f"Manifest {path}, {'; '.join(faults[:SHOWN_ERRORS])}{tail}."
