"""segpipe finds every nucleus in whole-slide H&E images.

Three functions are enough for a notebook::

    import segpipe

    row = segpipe.segment_slide("slide.svs", "out")  # pixels to table, no server
    nuclei = segpipe.read_nuclei("out")              # DataFrame, a row per nucleus
    slide = segpipe.open_slide("slide.svs")          # levels, mpp, read(box, level)
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segpipe.slides import open_slide
    from segpipe.stages.slide import segment_slide
    from segpipe.tables.reading import read_nuclei

__all__ = ["__version__", "open_slide", "read_nuclei", "segment_slide"]

__version__ = version("segpipe")

_HOMES = {
    "open_slide": "segpipe.slides",
    "read_nuclei": "segpipe.tables.reading",
    "segment_slide": "segpipe.stages.slide",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public function when it is first asked for: torch takes seconds."""
    if name not in _HOMES:
        message = f"module 'segpipe' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOMES[name]), name)
