"""The row of a finished slide: what was done, to what, with what, in what time."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import pandas as pd

from segpipe.stages.answers import too_large
from segpipe.stages.measuring import frame_of
from segpipe.stages.nuclei_index import NucleiIndex
from segpipe.stages.path import STAGES
from segpipe.stages.plan import Plan
from segpipe.stages.stored import ledger_of
from segpipe.tables import seams
from segpipe.tables.reading import iter_nuclei
from segpipe.tables.slides import SlideRow

COMPUTED_WITH = ("segpipe", "torch", "numpy", "numba", "opencv-python-headless", "zarr")
"""Packages whose version stands in the row."""


def describe(plan: Plan) -> SlideRow:
    """Return the row of a slide whose table stands."""
    ledger = ledger_of(plan)
    return SlideRow(
        slide_id=plan.slide.id,
        path=str(plan.slide.path),
        status="done",
        n_nuclei=NucleiIndex(plan).n_nuclei,
        tissue_mm2=plan.tissue_mm2,
        mpp=plan.slide_mpp,
        canvas_mpp=plan.canvas.mpp,
        slide_shape=plan.slide_shape,
        n_levels=plan.n_levels,
        reader=plan.reader,
        network=plan.network.name,
        weights_sha256=plan.network.sha256,
        n_tiles=len(plan.tissue_tiles),
        n_windows=len(plan.tissue_windows),
        n_too_large=too_large(plan),
        seconds={
            stage.name: ledger.seconds(stage.name, plan.keys[stage.name])
            for stage in STAGES
            if ledger.is_closed(stage.name, plan.keys[stage.name])
        },
        seam=_seam_check(plan),
        settings=plan.settings.model_dump(mode="json"),
        versions={name: version(name) for name in COMPUTED_WITH},
        fingerprint=plan.fingerprint,
        result_key=plan.result_key,
    )


def _seam_check(plan: Plan) -> seams.SeamCheck | None:
    """Compare nuclei at the seams of windows with the others."""
    return seams.check_seams(_anchored(plan), frame_of(plan, plan.canvas.box))


def _anchored(plan: Plan) -> Iterator[pd.DataFrame]:
    """Yield the table in parts, with the anchors, which it doesn't hold."""
    index, n_before = NucleiIndex(plan), 0
    for part in iter_nuclei(plan.out, plan.slide.id, columns=seams.COLUMNS):
        last = n_before + len(part)
        yield part.assign(anchor=index.anchors(n_before + 1, last))
        n_before = last
