"""Which errors are worth another try: those that may be gone by then."""

from __future__ import annotations

import errno

from segpipe.errors import SegpipeError

LASTING = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""Errors of the file system that say the same however often one asks."""
FULL_OR_READ_ONLY = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What a disk says until a person acts."""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later.

    Errors of input and output and of the network may; those that segpipe raises on
    purpose, that name a wrong path, or that say the disk is full, will not.
    """
    return (
        isinstance(error, OSError)
        and not isinstance(error, (SegpipeError, *LASTING))
        and error.errno not in FULL_OR_READ_ONLY
    )
