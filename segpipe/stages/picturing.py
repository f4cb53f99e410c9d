"""The pictures and the page of a finished slide."""

from __future__ import annotations

from math import ceil

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segpipe.arrays import RGB
from segpipe.geometry import Box
from segpipe.report import slide_page as pages
from segpipe.report.details import SIDE_UM, Detail, choose_boxes
from segpipe.report.overview import Overview, draw_overview, with_title
from segpipe.report.pictures import write_png
from segpipe.slides import Slide, open_slide
from segpipe.stages.canvas import choose_canvas, read_canvas, read_whole
from segpipe.stages.measuring import frame_of
from segpipe.stages.plan import Plan
from segpipe.stages.stored import NUCLEI_0, store_of
from segpipe.stores.durable import write_text
from segpipe.stores.layout import Layout
from segpipe.tables.reading import iter_nuclei, read_nuclei
from segpipe.tables.slides import SlideRow

THUMBNAIL_PX = 1400
"""Longer side of the picture of the whole slide."""
MOST_SHOWN = 400_000
"""Nuclei that the charts of a slide are drawn from, however many it has."""
_PLACES = ("y_um", "x_um", "nucleus_id")


def write_report(plan: Plan, row: SlideRow) -> None:
    """Write the overlay picture and the page, from the slide, label map and table."""
    layout, slide_id = Layout(plan.out), plan.slide.id
    every = ceil(row.n_nuclei / MOST_SHOWN) or 1
    nuclei = _sample(plan, every)
    picture = _overview(plan, nuclei, every)
    report = pages.SlideReport(
        row=row,
        nuclei=nuclei,
        every=every,
        frame=frame_of(plan, plan.canvas.box),
        overview=picture,
    )
    title = (
        f"{row.n_nuclei:,} nuclei in {row.tissue_mm2:.2f} mm² of tissue, "
        f"{row.nuclei_per_mm2:,.0f} per mm²"
    )
    write_png(layout.overlay(slide_id), with_title(picture, slide_id, title))
    write_text(layout.report(slide_id), pages.slide_page(report))


def _sample(plan: Plan, every: int) -> pd.DataFrame:
    """Read one nucleus in ``every``; no more of the table is held at a time."""
    columns = list(dict.fromkeys((*_PLACES, *pages.COLUMNS)))
    none = pd.DataFrame(columns=columns, dtype=np.float64)
    parts = [
        part[part["nucleus_id"] % every == 0]
        for part in iter_nuclei(plan.out, plan.slide.id, columns=columns)
    ]
    return pd.concat(parts, ignore_index=True) if parts else none


def _overview(plan: Plan, nuclei: pd.DataFrame, every: int) -> RGB:
    """Draw the whole slide and close looks."""
    mpp, shape = plan.canvas.mpp, plan.canvas.shape
    y_px, x_px = (nuclei[name].to_numpy() / mpp for name in ("y_um", "x_um"))
    side_px = plan.canvas.px(SIDE_UM)
    boxes = choose_boxes(y_px, x_px, canvas_shape=shape, side_px=side_px)
    with open_slide(plan.slide.path, reader=plan.reader) as slide:
        overview = Overview(
            thumbnail=_thumbnail(plan, slide),
            y_px=y_px,
            x_px=x_px,
            canvas_shape=shape,
            mpp=mpp,
            every=every,
            details=[_detail(plan, slide, box) for box in boxes],
        )
    return draw_overview(overview)


def _detail(plan: Plan, slide: Slide, box: Box) -> Detail:
    labels = store_of(plan).read(NUCLEI_0, box)
    ids, local = np.unique(labels, return_inverse=True)
    return Detail(
        box=box,
        rgb=read_canvas(slide, plan.canvas, box),
        labels=local.reshape(box.shape).astype(np.int32) + int(ids[0] > 0),
        type_ids=_types(plan, ids[ids > 0]) if plan.network.types else None,
    )


def _types(plan: Plan, ids: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the types of some nuclei, ascending in id, behind a 0 for background."""
    columns, wanted = ["type_id"], [("nucleus_id", "in", ids.tolist())]
    rows = read_nuclei(plan.out, plan.slide.id, columns=columns, filters=wanted)
    return np.concatenate([[0], rows["type_id"].to_numpy()]).astype(np.uint8)


def _thumbnail(plan: Plan, slide: Slide) -> RGB:
    """Read the whole slide, small."""
    longer_um = max(plan.slide_shape) * plan.slide_mpp
    mpp = max(longer_um / THUMBNAIL_PX, plan.slide_mpp)
    return read_whole(slide, choose_canvas(slide.levels, plan.slide_mpp, mpp))
