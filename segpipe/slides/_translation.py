"""Turn what third-party libraries raise into the errors of segpipe.

A reader wraps each call into a library, and nothing else, so that a mistake of our own
is never mistaken for a bad file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segpipe.errors import SlideCorrupt, SlideError, SlideNotFound, SlideNotReadable


@contextmanager
def translated(path: Path, attempt: str) -> Iterator[None]:
    """Raise whatever goes wrong inside as a SlideError that names the slide.

    Parameters
    ----------
    path
        The slide.
    attempt
        What is tried, as in "could not ``attempt``": ``"decode level 0"``.

    Raises
    ------
    SlideNotFound, SlideNotReadable
        For the system's own errors of that kind.
    SlideCorrupt
        For everything else. SlideErrors and MemoryError pass unchanged.
    """
    try:
        yield
    except (SlideError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise SlideNotFound(_lost(path, error)) from error
    except PermissionError as error:
        raise SlideNotReadable(not_readable(path)) from error
    except Exception as error:
        message = (
            f"{path} is damaged: could not {attempt} ({_told(error)}). "
            "Copy or export the slide again."
        )
        raise SlideCorrupt(message) from error


def not_readable(path: Path) -> str:
    """Say that a file exists but may not be read."""
    return (
        f"{path} may not be read by this user. Grant it read permission "
        "(and execute permission on the folders above)."
    )


def _lost(path: Path, error: FileNotFoundError) -> str:
    missing = error.filename or path
    return f"{path} can't be opened: {missing} is not there. Check the path."


def _told(error: Exception) -> str:
    """Say on one short line what a library said."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__
