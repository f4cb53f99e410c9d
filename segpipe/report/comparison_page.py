"""The page about two runs: how far they agree, and where they don't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from segpipe.report.charts import Bar, histogram, stack
from segpipe.report.differences import BOTH
from segpipe.report.looks import Look, css, dot, pictured
from segpipe.report.page import card, facts, numbers, page
from segpipe.report.score_tables import confusion_table
from segpipe.report.scores import AGREEMENT, NOTHING, score_text
from segpipe.tables.palette import IN_A, IN_B, OTHER_TYPE

MOST_SLIDES = 500
"""Slides that have a line of their own: those that agree least."""
_MEANINGS = (
    "Nuclei are one if their IoU is above 0.5. F1: twice those matched by all of both "
    "runs. SQ: mean IoU of those matched. PQ: F1 × SQ. Dice: of the foreground. κ: "
    "Cohen's, of the types of those matched. None of them depends on which run is A."
)
_BY_CENTRES = (
    "A run of these slides has no label map any more: nuclei are matched by centres "
    "within 3 µm, and SQ, PQ and Dice can't be told: "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """What the page of a comparison is made of."""

    names: tuple[str, str]
    """The folders."""
    cohort: Mapping[str, Any]
    """Counts and scores of all slides."""
    slides: Sequence[Mapping[str, Any]]
    """Rows of ``compare.parquet``."""
    skipped: Mapping[str, str]
    """Why slides were not compared, by id."""
    only: tuple[Sequence[str], Sequence[str]]
    """Slides that only one of the folders holds."""
    pairs: pd.DataFrame
    """Rows of matched nuclei: iou, distance_um, area_a_um2, area_b_um2."""
    every: int
    """One in so many is among them."""
    looks: Sequence[Look]
    facts: Mapping[str, str]


def comparison_page(report: ComparisonReport) -> str:
    """Return the page: one HTML file, nothing loaded from afar."""
    a, b = (escape(name) for name in report.names)
    n_slides = len(report.slides)
    title = f"{counted(n_slides)} compared"
    header = (
        f'<header><h1>{title}</h1><div class="legend"><span>{dot(IN_A)}A: {a}</span>'
        f"<span>{dot(IN_B)}B: {b}</span></div></header>"
    )
    body = [
        header,
        numbers(_numbers(report.cohort)),
        card("What became of the nuclei", _fates(report.cohort)),
        card("Slides, those that agree least first", _table(report)),
        *_skipped(report),
        *_looks(report.looks),
        f'<div class="charts">{"".join(_charts(report))}</div>',
        _sampling(report),
        *_types(report.cohort),
        facts("What was compared", report.facts),
    ]
    return page(title, body)


def counted(n_slides: int) -> str:
    """Say how many slides."""
    return f"{n_slides:,} slides" if n_slides != 1 else "1 slide"


def _numbers(cohort: Mapping[str, Any]) -> dict[str, str]:
    counts = {
        "nuclei in A": f"{cohort['n_a']:,}",
        "nuclei in B": f"{cohort['n_b']:,}",
        "matched": f"{cohort['n_matched']:,}",
    }
    shown = {title: score_text(cohort[name]) for name, title in AGREEMENT.items()}
    area = {"median B − A": _difference(cohort["area_difference_um2"])}
    return {**counts, **shown, **area}


def _fates(cohort: Mapping[str, Any]) -> str:
    """Return how the nuclei of either run share into what became of them."""
    same = cohort["n_matched"] - cohort["n_other_type"]
    parts = []
    for run, colour in (("A", IN_A), ("B", IN_B)):
        total = cohort[f"n_{run.lower()}"]
        shares = {
            "matched": (same, BOTH),
            "matched, but of another type": (cohort["n_other_type"], OTHER_TYPE),
            f"only in {run}": (total - cohort["n_matched"], colour),
        }
        bars = [
            Bar(
                label=label,
                value=count,
                text=f"{count:,} ({count / max(total, 1):.1%})",
                colour=css(shade),
            )
            for label, (count, shade) in shares.items()
        ]
        parts.append(f'<p class="faint">Nuclei of {run}: {total:,}</p>')
        parts.append(stack(bars) if total else "")
    return "".join(parts)


def _table(report: ComparisonReport) -> str:
    heads = ["Slide", "A", "B", "matched", "only A", "only B", "other type"]
    heads += [*AGREEMENT.values(), "median B − A"]
    head = "".join(
        f'<th class="{"right" if i else ""}">{name}</th>'
        for i, name in enumerate(heads)
    )
    worst = sorted(report.slides, key=_agreement)[:MOST_SLIDES]
    rows = "".join(_line(row["slide_id"], row) for row in worst)
    if len(report.slides) > 1:
        rows += _line(f"all {len(report.slides)} slides", report.cohort)
    by_centres = [s["slide_id"] for s in report.slides if s["matched_by"] == "centres"]
    note = f" {_BY_CENTRES}{', '.join(by_centres)}." if by_centres else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="faint">{_MEANINGS}{escape(note)}</p>'
    )


def _agreement(row: Mapping[str, Any]) -> tuple[float, str]:
    known = row["pq"] if row["pq"] is not None else row["f1"]
    return (1.0 if known is None else known, row["slide_id"])


def _line(name: str, row: Mapping[str, Any]) -> str:
    counts = ("n_a", "n_b", "n_matched", "n_only_a", "n_only_b", "n_other_type")
    cells = [f"{row[count]:,}" for count in counts]
    cells += [score_text(row[score]) for score in AGREEMENT]
    cells += [_difference(row["area_difference_um2"])]
    right = "".join(f'<td class="right">{cell}</td>' for cell in cells)
    return f"<tr><td>{escape(name)}</td>{right}</tr>"


def _skipped(report: ComparisonReport) -> list[str]:
    parts = []
    if report.skipped:
        lines = "".join(
            f'<tr><td class="quarantined">{escape(name)}</td>'
            f"<td>{escape(reason)}</td></tr>"
            for name, reason in report.skipped.items()
        )
        title = f"Not compared: {counted(len(report.skipped))} in both"
        parts.append(card(title, f"<table>{lines}</table>"))
    for run, names in zip("AB", report.only, strict=True):
        if names:
            title = f"Only in {run}: {counted(len(names))}"
            parts.append(facts(title, dict.fromkeys(names, "")))
    return parts


def _looks(looks: Sequence[Look]) -> list[str]:
    if not looks:
        return []
    legend = {
        "outline in A; veiled: only in A": IN_A,
        "outline in B; veiled: only in B": IN_B,
        "both outlines alike": BOTH,
        "veiled: another type": OTHER_TYPE,
    }
    return [card("Where they differ most", pictured(looks, legend))]


def _charts(report: ComparisonReport) -> list[str]:
    pairs = report.pairs
    areas = [pairs[f"area_{run}_um2"].to_numpy(np.float64) for run in "ab"]
    return [
        card("IoU of matched nuclei", histogram(pairs["iou"])),
        card("Distance of their centres", histogram(pairs["distance_um"], unit="µm")),
        card("Area in B by area in A", histogram(areas[1] / areas[0])),
    ]


def _sampling(report: ComparisonReport) -> str:
    if report.every == 1:
        return ""
    return f'<p class="faint">Charts: one nucleus in {report.every}.</p>'


def _types(cohort: Mapping[str, Any]) -> list[str]:
    """Return which type became which, of nuclei that both runs type."""
    if not cohort["types"]:
        return []
    inner = np.array(cohort["confusion"], np.int64)
    padded = np.pad(inner, 1)
    table = confusion_table(padded, cohort["types"], "A \\ B")
    return [card("Types of matched nuclei: rows are A, columns B", table)]


def _difference(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.2f} µm²"
