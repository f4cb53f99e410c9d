"""The page of a comparison, with pictures of the places where runs differ most."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import shapely

from segpipe.arrays import RGB
from segpipe.errors import PlanRefused, SlideError
from segpipe.geometry import Box
from segpipe.report.comparison_page import ComparisonReport, comparison_page
from segpipe.report.differences import Outline, Ring, draw_differences
from segpipe.report.looks import Look
from segpipe.report.pictures import data_uri
from segpipe.slides import open_slide, slide_fingerprint
from segpipe.stages.canvas import choose_canvas, read_canvas
from segpipe.stages.comparing import (
    ComparedSlide,
    Comparison,
    Place,
    facts_of,
    record_of,
)
from segpipe.stores.durable import write_text
from segpipe.tables.pairs import MATCHED, OTHER_TYPE, iter_pairs, read_pairs
from segpipe.tables.reading import read_nuclei
from segpipe.tables.slides import SlideRow

MOST_LOOKS = 9
"""Pictures on the page."""
MOST_PER_SLIDE = 3
"""Pictures of one slide, if there are others."""
MOST_SHOWN = 400_000
"""Matched nuclei that the charts are drawn from, however many there are."""
_DRAWN_PX = 560
_CHARTED = ("status", "iou", "distance_um", "area_a_um2", "area_b_um2")


def write_page(found: Comparison, out: Path) -> None:
    """Write ``compare.html`` into the folder that the comparison was written to."""
    common, cohort = found.common, found.cohort
    every = math.ceil(cohort.n_matched / MOST_SHOWN) or 1
    pairs = out / "nuclei.parquet"
    report = ComparisonReport(
        names=(str(common.a.layout.out), str(common.b.layout.out)),
        cohort=facts_of(cohort),
        slides=[record_of(slide) for slide in found.slides],
        skipped={one.slide_id: one.reason for one in found.skipped},
        only=(common.only_a, common.only_b),
        pairs=_sample(pairs, every),
        every=every,
        looks=[_look(found, place, pairs) for place in choose_places(found.slides)],
        facts=_facts(found),
    )
    write_text(out / "compare.html", comparison_page(report))


def choose_places(slides: Sequence[ComparedSlide]) -> list[Place]:
    """Choose the places with most differences, not too many of one slide."""
    places = [place for slide in slides for place in slide.places]
    places.sort(key=lambda place: -place.n_differing)
    most = MOST_PER_SLIDE if len(slides) > 1 else MOST_LOOKS
    n_chosen: Counter[str] = Counter()
    chosen = []
    for place in places:
        if n_chosen[place.slide_id] < most:
            n_chosen[place.slide_id] += 1
            chosen.append(place)
    return chosen[:MOST_LOOKS]


def _sample(path: Path, every: int) -> pd.DataFrame:
    parts = [
        part[part["status"].isin([MATCHED, OTHER_TYPE])].iloc[::every]
        for part in iter_pairs(path, _CHARTED)
    ]
    return pd.concat(parts) if parts else pd.DataFrame(columns=list(_CHARTED))


def _facts(found: Comparison) -> dict[str, str]:
    """Say what made either run; several if their slides differ."""
    facts = {}
    for run, at in (("A", 0), ("B", 1)):
        rows = [slide.rows[at] for slide in found.slides]
        for title, values in {
            "network": [row.network for row in rows],
            "weights (sha256)": [row.weights_sha256 for row in rows],
            "segmented at": [f"{row.canvas_mpp:.4g} µm per pixel" for row in rows],
            "segpipe": [row.versions.get("segpipe", "unknown") for row in rows],
        }.items():
            facts[f"{title} in {run}"] = ", ".join(dict.fromkeys(values))
    return facts


def _look(found: Comparison, place: Place, pairs: Path) -> Look:
    slide = next(s for s in found.slides if s.slide_id == place.slide_id)
    rgb = _pixels(slide.rows, place)
    outlines = _outlines(found, place, pairs)
    drawn = draw_differences(_blank() if rgb is None else rgb, outlines)
    missing = "" if rgb is not None else "; the slide isn't there any more"
    return Look(
        source=data_uri(drawn),
        caption=f"{place.slide_id}: {place.n_differing} nuclei differ at level-0 "
        f"x {place.x_l0_px:,}, y {place.y_l0_px:,}{missing}",
    )


def _blank() -> RGB:
    return np.full((_DRAWN_PX, _DRAWN_PX, 3), 255, np.uint8)


def _pixels(rows: tuple[SlideRow, SlideRow], place: Place) -> RGB | None:
    """Read a place at the finer of the two resolutions; None if the slide is gone."""
    finest = min(rows, key=lambda row: row.canvas_mpp or math.inf)
    for row in (finest, *rows):
        try:
            if row.fingerprint not in {"", slide_fingerprint(row.path)}:
                continue
            return _read(row, place)
        except (SlideError, PlanRefused):
            continue
    return None


def _read(row: SlideRow, place: Place) -> RGB:
    mpp = row.mpp or 1.0
    with open_slide(row.path, reader=row.reader or None) as slide:
        canvas = choose_canvas(slide.levels, mpp, row.canvas_mpp or mpp)
        y0, x0, side = (
            round(value / canvas.downsample)
            for value in (place.y_l0_px, place.x_l0_px, place.side_l0_px)
        )
        rgb = read_canvas(slide, canvas, Box(y0, x0, y0 + side, x0 + side))
    shown = cv2.resize(rgb, (_DRAWN_PX, _DRAWN_PX), interpolation=cv2.INTER_CUBIC)
    return np.asarray(shown)


def _outlines(found: Comparison, place: Place, pairs: Path) -> Iterator[Outline]:
    """Yield the nuclei of both runs that reach into a place."""
    side = place.side_l0_px
    y0, x0 = place.y_l0_px, place.x_l0_px
    around = (y0 - side, x0 - side, y0 + 2 * side, x0 + 2 * side)
    rows = read_pairs(pairs, place.slide_id, around)
    where = [
        ("ymax_l0_px", ">", y0),
        ("ymin_l0_px", "<", y0 + side),
        ("xmax_l0_px", ">", x0),
        ("xmin_l0_px", "<", x0 + side),
    ]
    for run in (found.common.a, found.common.b):
        fates = _fates(rows, run.name)
        nuclei = read_nuclei(
            run.layout.out,
            place.slide_id,
            columns=["nucleus_id", "geometry"],
            filters=where,
            geometry=True,
        )
        for nucleus_id, polygon in zip(
            nuclei["nucleus_id"], nuclei["geometry"], strict=True
        ):
            yield Outline(
                rings=_rings(polygon, place),
                run="A" if run is found.common.a else "B",
                status=fates.get(nucleus_id, MATCHED),
            )


def _fates(rows: pd.DataFrame, run: str) -> dict[int, str]:
    """Return what became of the nuclei of a run, by id."""
    known = rows[["status", f"id_{run.lower()}"]].dropna()
    ids = known[f"id_{run.lower()}"].astype(int)
    return dict(zip(ids, known["status"], strict=True))


def _rings(polygon: shapely.Polygon, place: Place) -> list[Ring]:
    corner = (place.x_l0_px, place.y_l0_px)
    scale = _DRAWN_PX / place.side_l0_px
    rings = [polygon.exterior, *polygon.interiors]
    return [(np.asarray(ring.coords) - corner) * scale for ring in rings]
