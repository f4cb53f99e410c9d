"""The one path from slide to table: the stages, in order."""

from __future__ import annotations

from segpipe.stages import labelling, measuring, predicting, stitching, tiling
from segpipe.stages._stage import Stage

STAGES: tuple[Stage, ...] = (
    tiling.STAGE,
    predicting.STAGE,
    labelling.STAGE,
    stitching.STAGE,
    measuring.STAGE,
)
