"""Whether a slide's files look as they did, without reading them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from segpipe.slides._fingerprint import slide_files


def stat_signature(slide: Path, *beside: Path) -> str:
    """Return a hash of the names, sizes and times of a slide's files.

    The times are those of the last change of content and of the inode, in nanoseconds:
    with the latter, a file that was replaced by one of the same size and date is
    noticed. A file that is only touched, moved or copied gets another signature too;
    :func:`segpipe.slides.slide_fingerprint` tells whether its content is the same.

    Parameters
    ----------
    slide
        As for :func:`segpipe.slides.open_slide`.
    beside
        Other files that matter, such as a tissue mask.

    Returns
    -------
    str
        32 hexadecimal digits, or an empty string if a file is missing or can't be
        looked at.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        for file in (*slide_files(slide), *beside):
            found = file.stat()
            times = f"{found.st_mtime_ns}\0{found.st_ctime_ns}"
            digest.update(f"{file.name}\0{found.st_size}\0{times}\0".encode())
    except OSError:
        return ""
    return digest.hexdigest()
