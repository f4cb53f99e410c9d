"""Slides: found, recognised, opened and read, whatever the format.

One module per format ends in ``READER = Reader(...)``; the module is the registry.
"""

from segpipe.slides._finding import find_slides
from segpipe.slides._fingerprint import slide_fingerprint
from segpipe.slides._opening import open_slide, reader_of, readers
from segpipe.slides._protocol import Level, Reader, Slide
from segpipe.slides._stat import stat_signature

__all__ = [
    "Level",
    "Reader",
    "Slide",
    "find_slides",
    "open_slide",
    "reader_of",
    "readers",
    "slide_fingerprint",
    "stat_signature",
]
