"""The pictures and the page of a finished slide."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segpipe.arrays import RGB, to_rgb
from segpipe.geometry import Box
from segpipe.report import slide_page as pages
from segpipe.report.details import SIDE_UM, Detail, choose_boxes
from segpipe.report.overview import Overview, draw_overview, with_title
from segpipe.report.pictures import write_png
from segpipe.slides import open_slide
from segpipe.stages.canvas import choose_canvas, read_whole
from segpipe.stages.measuring import frame_of
from segpipe.stages.plan import Plan
from segpipe.stages.stored import IMAGE, NUCLEI_0, store_of
from segpipe.stores.durable import write_text
from segpipe.stores.layout import Layout
from segpipe.tables.reading import read_nuclei
from segpipe.tables.slides import SlideRow

THUMBNAIL_PX = 1400
"""Longer side of the picture of the whole slide."""
_PLACES = ("y_um", "x_um", "nucleus_id")


def write_report(plan: Plan, row: SlideRow) -> None:
    """Write the overlay picture and the page."""
    layout, slide_id = Layout(plan.out), plan.slide.id
    columns = list(dict.fromkeys((*_PLACES, *pages.COLUMNS)))
    nuclei = read_nuclei(plan.out, slide_id, columns=columns)
    picture = _overview(plan, nuclei)
    report = pages.SlideReport(
        row=row,
        nuclei=nuclei,
        frame=frame_of(plan, plan.canvas.box),
        overview=picture,
    )
    title = (
        f"{row.n_nuclei:,} nuclei in {row.tissue_mm2:.2f} mm² of tissue, "
        f"{row.nuclei_per_mm2:,.0f} per mm²"
    )
    write_png(layout.overlay(slide_id), with_title(picture, slide_id, title))
    write_text(layout.report(slide_id), pages.slide_page(report))


def _overview(plan: Plan, nuclei: pd.DataFrame) -> RGB:
    """Draw the whole slide and close looks."""
    mpp, shape = plan.canvas.mpp, plan.canvas.shape
    y_px, x_px = (nuclei[name].to_numpy() / mpp for name in ("y_um", "x_um"))
    side_px = round(SIDE_UM / mpp)
    boxes = choose_boxes(y_px, x_px, canvas_shape=shape, side_px=side_px)
    types = np.zeros(len(nuclei) + 1, np.uint8)
    types[nuclei["nucleus_id"].to_numpy()] = nuclei["type_id"].to_numpy()
    return draw_overview(
        Overview(
            thumbnail=_thumbnail(plan),
            y_px=y_px,
            x_px=x_px,
            canvas_shape=shape,
            mpp=mpp,
            details=[_detail(plan, box, types) for box in boxes],
        )
    )


def _detail(plan: Plan, box: Box, types: NDArray[np.uint8]) -> Detail:
    store = store_of(plan)
    return Detail(
        box=box,
        rgb=to_rgb(store.read(IMAGE, box)),
        labels=store.read(NUCLEI_0, box).astype(np.int32),
        type_ids=types if plan.network.types else None,
    )


def _thumbnail(plan: Plan) -> RGB:
    """Read the whole slide, small."""
    longer_um = max(plan.slide_shape) * plan.slide_mpp
    with open_slide(plan.slide.path, reader=plan.reader) as slide:
        mpp = max(longer_um / THUMBNAIL_PX, plan.slide_mpp)
        canvas = choose_canvas(slide.levels, plan.slide_mpp, mpp)
        return read_whole(slide, canvas)
