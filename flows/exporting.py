"""Writing the slides of a run in another format, and which formats there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from segpipe.errors import SettingsError, SlideNotFound
from segpipe.exports import Export, export_named, exports
from segpipe.tables.reading import slide_ids


def export_slides(
    folder: Path,
    name: str,
    wanted: Sequence[str] | None,
    to: Path | None,
    *,
    is_packed: bool = False,
) -> Iterator[Path]:
    """Write slides in a format, and yield each path when it is written.

    Parameters
    ----------
    folder
        Result folder.
    name
        Of the format.
    wanted
        Ids of the slides; None is all.
    to
        Folder to write to; None is ``exports/NAME`` in the result folder.
    is_packed
        Whether to compress the files.

    Raises
    ------
    SettingsError
        If there is no such format, or none of its files is compressed.
    SlideNotFound
        If the run has no such slide, or none at all.
    """
    export = export_named(name)
    ending = _ending(export, is_packed=is_packed)
    found = slide_ids(folder)
    if not found:
        message = f"No nuclei in {folder}. Give the folder that was --out of a run."
        raise SlideNotFound(message)
    target = to or folder / "exports" / name
    target.mkdir(parents=True, exist_ok=True)
    for slide_id in wanted or found:
        path = target / f"{slide_id}{ending}"
        export.write(folder, slide_id, path)
        yield path


def show_formats() -> None:
    """Print every format with the endings of its files, and what opens it."""
    table = Table(box=None, pad_edge=False)
    for name in ("format", "files", "for"):
        table.add_column(name)
    for export in exports():
        table.add_row(export.name, " ".join(export.extensions), export.description)
    Console(highlight=False).print(table)


def _ending(export: Export, *, is_packed: bool) -> str:
    if not is_packed:
        return export.extensions[0]
    packed = [each for each in export.extensions if each.endswith(".gz")]
    if not packed:
        message = (
            f"--gzip was asked for, but {export.name} is written as "
            f"{' or '.join(export.extensions)} only. Leave --gzip out."
        )
        raise SettingsError(message)
    return packed[0]
