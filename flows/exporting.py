"""Writing the slides of a run in another format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from segpipe.errors import SlideNotFound
from segpipe.exports import export_named
from segpipe.tables.reading import slide_ids


def export_slides(
    folder: Path, name: str, wanted: Sequence[str] | None, to: Path | None
) -> Iterator[Path]:
    """Write slides in a format, and yield each path when it is written.

    Raises
    ------
    SettingsError
        If there is no such format.
    SlideNotFound
        If the run has no such slide, or none at all.
    """
    export = export_named(name)
    found = slide_ids(folder)
    if not found:
        message = f"No nuclei in {folder}. Give the folder that was --out of a run."
        raise SlideNotFound(message)
    target = to or folder / "exports" / name
    target.mkdir(parents=True, exist_ok=True)
    for slide_id in wanted or found:
        path = target / f"{slide_id}{export.extensions[0]}"
        export.write(folder, slide_id, path)
        yield path
