"""The page about one slide."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from segpipe.arrays import RGB
from segpipe.report.charts import Bar, bars, histogram, ratios
from segpipe.report.looks import css
from segpipe.report.page import card, facts, numbers, page, stages
from segpipe.report.pictures import data_uri
from segpipe.tables.frame import Frame
from segpipe.tables.palette import colour_of
from segpipe.tables.seams import SeamCheck, share_within
from segpipe.tables.slides import SlideRow

COLUMNS = (
    "area_um2",
    "circularity",
    "hematoxylin_od_mean",
    "type_id",
    "seam_distance_um",
)
"""Columns of the nuclei table that the page shows."""
_SEAM_BINS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideReport:
    """What the page of a slide is made of."""

    row: SlideRow
    """Numbers of the slide."""
    nuclei: pd.DataFrame
    """The columns ``COLUMNS`` of its table, or of a sample of it."""
    every: int = 1
    """One in so many nuclei is in the sample."""
    frame: Frame
    """Its frame; the box plays no part."""
    overview: RGB
    """Picture of the slide."""


def slide_page(report: SlideReport) -> str:
    """Return the page of a slide: one HTML file, nothing loaded from afar."""
    row = report.row
    heading = f"<h1>{escape(row.slide_id)}</h1><p>{escape(row.path)}</p>"
    picture = (
        '<img alt="The slide, its density of nuclei, and close looks" '
        f'src="{data_uri(report.overview)}">'
    )
    settings = {name: str(value) for name, value in row.settings.items()}
    body = [
        f"<header>{heading}</header>",
        numbers(_numbers(report)),
        f"<section>{picture}</section>",
        f'<div class="charts">{"".join(_charts(report))}</div>',
        _sampling(report),
        card("Seconds by stage", stages([row])),
        facts("Slide and network", _facts(row)),
        facts("Settings", settings),
        facts("Versions", row.versions),
    ]
    return page(row.slide_id, body)


def _numbers(report: SlideReport) -> dict[str, str]:
    row, nuclei = report.row, report.nuclei
    area = f"{nuclei['area_um2'].median():.1f} µm²" if len(nuclei) else "none"
    return {
        "nuclei": f"{row.n_nuclei:,}",
        "mm² of tissue": f"{row.tissue_mm2:,.2f}",
        "nuclei per mm²": f"{row.nuclei_per_mm2:,.0f}",
        "median area": area,
        "seconds": f"{sum(row.seconds.values()):,.1f}",
    }


def _sampling(report: SlideReport) -> str:
    if report.every == 1:
        return ""
    return f'<p class="faint">Charts and median: one nucleus in {report.every}.</p>'


def _charts(report: SlideReport) -> list[str]:
    nuclei = report.nuclei
    charts = [
        card("Area", histogram(nuclei["area_um2"], unit="µm²")),
        card("Circularity", histogram(nuclei["circularity"])),
        card("Hematoxylin", histogram(nuclei["hematoxylin_od_mean"], unit="OD")),
    ]
    if report.frame.type_names:
        charts.append(card("Types", bars(_type_bars(report))))
    if report.row.seam is not None:
        charts.append(
            card(
                "Nuclei by distance from a window seam", _seams(report, report.row.seam)
            )
        )
    return charts


def _type_bars(report: SlideReport) -> list[Bar]:
    """Return a bar per type that occurs, the most frequent first."""
    names = ("untyped", *report.frame.type_names)
    type_ids, counts = np.unique(report.nuclei["type_id"], return_counts=True)
    return [
        Bar(
            label=names[type_ids[i]],
            value=int(counts[i] * report.every),
            text=f"{counts[i] * report.every:,} ({counts[i] / counts.sum():.0%})",
            colour=css(colour_of(int(type_ids[i]))),
        )
        for i in np.argsort(-counts, kind="stable")
    ]


def _seams(report: SlideReport, check: SeamCheck) -> str:
    """Return the chart of nuclei around seams, with the check in words."""
    frame = report.frame
    farthest_px = frame.window_px / 2
    edges_px = np.linspace(0, farthest_px, _SEAM_BINS + 1)
    distance_px = report.nuclei["seam_distance_um"].to_numpy() / frame.mpp
    observed, _ = np.histogram(distance_px, edges_px)
    shares = np.diff([share_within(edge, frame) for edge in edges_px])
    chart = ratios(
        observed.astype(np.float64),
        shares * len(distance_px),
        end=f"{farthest_px * frame.mpp:.0f} µm",
    )
    return (
        f'{chart}<p class="faint">Near seams: {check.density_ratio:.2f} × the density '
        f"and {check.area_ratio:.2f} × the area of the rest; "
        f"{check.straight_share_near:.1%} of the nuclei there have a straight edge on "
        f"the seam, against {check.straight_share_interior:.1%} on lines half-way "
        "between seams, where nothing can cut.</p>"
    )


def _facts(row: SlideRow) -> dict[str, str]:
    height, width = row.slide_shape
    dropped = row.n_too_large
    return {
        "Size": f"{width:,} × {height:,} px in {row.n_levels} levels",
        "Resolution": f"{row.mpp:.4g} µm per pixel" if row.mpp else "unknown",
        "Segmented at": row.segmented_at,
        "Reader": row.reader,
        "Network": row.network,
        "Weights (sha256)": row.weights_sha256,
        "Tiles": f"{row.n_tiles:,}",
        "Windows": f"{row.n_windows:,}",
        **({} if dropped is None else {"Too large, dropped": f"{dropped:,}"}),
        "Fingerprint": row.fingerprint,
    }
