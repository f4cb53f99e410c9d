"""Whose fault an error is: that decides on trying again, quarantine or giving up."""

from __future__ import annotations

import errno

from segpipe.errors import (
    OutputNotOurs,
    OutputNotWritable,
    SegpipeError,
    SettingsError,
    WeightsError,
)


class ClusterLost(SegpipeError, ConnectionError):
    """The Dask scheduler or its workers can't be had, or are gone."""


class ServerFailed(SegpipeError, RuntimeError):
    """A Prefect server of ours, or what runs beside it, doesn't start or stay up."""


class TooManyQuarantined(SegpipeError, RuntimeError):
    """More slides of a cohort failed than the settings allow."""


OF_THE_RUN = (
    ClusterLost,
    MemoryError,
    OutputNotOurs,
    OutputNotWritable,
    ServerFailed,
    SettingsError,
    TooManyQuarantined,
    WeightsError,
)
"""Errors that every slide of a run would meet."""
LASTING = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""Errors of the file system that say the same however often one asks."""
DISK_FULL_OR_READ_ONLY = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What a disk says until a person acts."""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later.

    Errors of input and output and of the network may; those that segpipe raises on
    purpose, that name a wrong path, or that say the disk is full, will not.
    """
    return (
        isinstance(error, OSError)
        and not isinstance(error, (SegpipeError, *LASTING))
        and error.errno not in DISK_FULL_OR_READ_ONLY
    )


def is_of_prefect(error: BaseException) -> bool:
    """Whether an error says that Prefect's API doesn't answer as it should."""
    return type(error).__module__.split(".")[0] in {"httpx", "httpcore", "prefect"}


def is_interruption(error: BaseException) -> bool:
    """Whether Ctrl-C is behind an error: libraries that clean up may hide it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def blames_the_slide(error: BaseException) -> bool:
    """Whether other slides may succeed where this one failed with this error."""
    if is_of_prefect(error) or is_interruption(error):
        return False
    if isinstance(error, OSError) and error.errno in DISK_FULL_OR_READ_ONLY:
        return False
    return isinstance(error, Exception) and not isinstance(error, OF_THE_RUN)
