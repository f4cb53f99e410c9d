"""The page about an evaluation: how good, by which measure, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from segpipe.metrics.overlap import Ints
from segpipe.metrics.ranking import Ranking
from segpipe.metrics.reliability import Reliability, bins
from segpipe.report.charts import Bar, bars, stack
from segpipe.report.curve_charts import ordered, precision_recall, reliability
from segpipe.report.looks import Look, css, pictured
from segpipe.report.mistakes import INVENTED, MISSED, OUTLINED_BADLY, RIGHT, TRUTH
from segpipe.report.page import card, facts, numbers, page
from segpipe.report.score_tables import confusion_table, error_table, score_table
from segpipe.report.scores import NOTHING, score_text

_SHOWN_ORGANS = 12
_APPROXIMATE = (
    '<p class="faint">Instances of this set are approximate: read its instance scores '
    "with care.</p>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReport:
    """What the page says of one set."""

    name: str
    n_truth: int
    n_found: int
    n_matched: int
    n_detected: int
    pq: Mapping[str, float]
    """By image; NaN where there is nothing to score."""
    organs: Mapping[str, float]
    """Mean PQ of the images of each organ."""
    worst: Sequence[Look]
    best: Sequence[Look]
    exact: bool = True
    """Whether the instances of all images were drawn."""
    ranking: Ranking | None = None
    reliability: Reliability | None = None
    confusion: Ints | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """What the page of an evaluation is made of."""

    title: str
    subtitle: str
    types: Sequence[str]
    facts: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, Any]]
    """What ``metrics.json`` holds."""
    sets: Sequence[SetReport]


def evaluation_page(report: EvaluationReport) -> str:
    """Return the page: one HTML file, nothing loaded from afar."""
    heading = f"<h1>{escape(report.title)}</h1><p>{escape(report.subtitle)}</p>"
    ways = (
        '<p class="faint">Mean: of the scores of the images. Pooled: of the counts '
        "of all images added up, as COCO's AP and mAP are; F1 of types and mPQ+ "
        f"are pooled by definition. {NOTHING} is nothing to score.</p>"
    )
    errors = error_table(report.metrics)
    body = [
        f"<header>{heading}</header>",
        card("Scores: the higher the better", score_table(report.metrics) + ways),
        card("Errors, means over images: the lower the better", errors),
        *(part for one in report.sets for part in _set(one, report)),
        facts("What was evaluated", report.facts),
    ]
    return page(report.title, body)


def _set(one: SetReport, report: EvaluationReport) -> list[str]:
    """Return the parts about a set."""
    metrics = report.metrics[one.name]
    parts = [
        f'<h1 class="set">{escape(one.name)}</h1>'
        + ("" if one.exact else _APPROXIMATE),
        numbers(_numbers(one, metrics)),
        card("What became of the nuclei", _fates(one)),
        _grid(_charts(one, metrics)),
    ]
    if one.confusion is not None and one.confusion.any():
        table = confusion_table(one.confusion, report.types)
        parts.append(card("Types: rows are the truth, columns what was found", table))
    for title, looks in (("Worst images", one.worst), ("Best images", one.best)):
        if looks:
            parts.append(card(title, _looks(looks)))
    return parts


def _grid(charts: Sequence[str]) -> str:
    """Return charts in rows of three, or of two if three would leave one alone."""
    style = "charts wide" if len(charts) % 3 == 1 else "charts"
    return f'<div class="{style}">{"".join(charts)}</div>'


def _numbers(one: SetReport, metrics: Mapping[str, Any]) -> dict[str, str]:
    shown = {"PQ": "pq", "AJI": "aji", "Dice": "dice", "F1 of detection": "f1_det"}
    shown |= {"mean F1 of types": "f1_type"} if one.confusion is not None else {}
    scores = {title: score_text(metrics.get(name)) for title, name in shown.items()}
    ranked = {"COCO mAP": score_text(metrics["pooled"]["map"])} if one.ranking else {}
    return {**scores, **ranked}


def _fates(one: SetReport) -> str:
    """Return how the true and the found nuclei share into good, poor and wrong."""
    near = max(one.n_detected, one.n_matched)
    good, poor = one.n_matched, near - one.n_matched
    bars_of = {
        "True nuclei": (one.n_truth, "missed", MISSED),
        "Found nuclei": (one.n_found, "invented", INVENTED),
    }
    return "".join(
        f'<p class="faint">{title}: {n:,}</p>'
        + stack(
            [
                _share("outlined well (IoU > 0.5)", good, n, css(RIGHT)),
                _share("found, but outlined badly", poor, n, css(OUTLINED_BADLY)),
                _share(wrong, n - near, n, css(colour)),
            ]
        )
        for title, (n, wrong, colour) in bars_of.items()
        if n
    )


def _share(label: str, count: int, total: int, colour: str) -> Bar:
    text = f"{count:,} ({count / total:.0%})"
    return Bar(label=label, value=count, text=text, colour=colour)


def _charts(one: SetReport, metrics: Mapping[str, Any]) -> list[str]:
    charts = []
    if one.ranking is not None:
        aps = [
            Bar(label=iou, value=ap or 0, text=score_text(ap))
            for iou, ap in metrics["ap_pooled"].items()
        ]
        charts += [
            card("Precision over recall, pooled", precision_recall(one.ranking)),
            card("Average precision by IoU, pooled", bars(aps)),
        ]
    if one.reliability is not None:
        error = score_text(metrics["calibration"]["expected_error"])
        title = f"Reliability of pixels: expected calibration error {error}"
        charts.append(card(title, reliability(bins(one.reliability))))
    charts.append(
        card("PQ of each image, the lowest first", ordered(one.pq, name="PQ"))
    )
    if len(one.organs) > 1:
        lowest = sorted(one.organs.items(), key=lambda entry: entry[1])
        rows = [
            Bar(label=organ, value=pq, text=score_text(pq))
            for organ, pq in lowest[:_SHOWN_ORGANS]
        ]
        charts.append(card("PQ by organ, the lowest first", bars(rows)))
    return charts


def _looks(looks: Sequence[Look]) -> str:
    legend = {
        "found, right": RIGHT,
        "its true outline": TRUTH,
        "missed": MISSED,
        "invented": INVENTED,
        "both: outlined badly": OUTLINED_BADLY,
    }
    return pictured(looks, legend)
