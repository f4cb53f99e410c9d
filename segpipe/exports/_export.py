"""What an export is: a format's name, its file endings, and how a slide is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Write(Protocol):
    """Writes one slide of a run in another format."""

    def __call__(self, out_dir: Path, slide_id: str, path: Path) -> None:
        """Write a file or folder, whole or not at all.

        Parameters
        ----------
        out_dir
            Result folder of the run.
        slide_id
            The slide.
        path
            File or folder to write; an older one is replaced.

        Raises
        ------
        SlideNotFound
            If the run has no table of the slide.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A format that results can be written in."""

    name: str
    """Module name and the value of ``--format``; hyphens for underscores."""
    extensions: tuple[str, ...]
    """Endings of its files, with the dot; the first is the default."""
    description: str
    """What opens it, in a few words."""
    write: Write
    """Write one slide."""
