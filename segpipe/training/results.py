"""What an evaluation leaves behind: metrics, a row per image, curves, and a page.

::

    metrics.json      by set: every score, means over images and pooled
    images.parquet    a row per image: scores and the counts they come from
    curves.parquet    by set and IoU: precision and least score at 101 recalls
    evaluation.html   the same for people, with the best and worst images
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from segpipe.metrics import mean_score
from segpipe.metrics.curves import RECALLS, curve, interpolated
from segpipe.metrics.ranking import IOUS, Ranking
from segpipe.report.evaluation_page import (
    EvaluationReport,
    SetReport,
    evaluation_page,
)
from segpipe.stores.durable import replacing, write_text
from segpipe.training.comparing import Evaluated
from segpipe.training.finding import Finder
from segpipe.training.gallery import Gallery
from segpipe.training.summarising import (
    by_set,
    confusion_of,
    image_scores,
    ranking_of,
    reliability_of,
    summarise,
)


def write_results(
    out: Path, finder: Finder, evaluated: Sequence[Evaluated], gallery: Gallery
) -> dict[str, Any]:
    """Write every result into a folder and return what ``metrics.json`` holds."""
    metrics = summarise(evaluated, finder.types)
    write_text(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    _write_table(out / "images.parquet", _image_rows(evaluated), finder.facts)
    _write_table(out / "curves.parquet", _curve_rows(evaluated), finder.facts)
    page = evaluation_page(_report(finder, evaluated, metrics, gallery))
    write_text(out / "evaluation.html", page)
    return metrics


def _write_table(
    path: Path, rows: Iterator[dict[str, Any]], facts: Mapping[str, str]
) -> None:
    """Write rows as Parquet; ``facts`` are read back as the frame's ``attrs``."""
    frame = pd.DataFrame(list(rows))
    frame.attrs.update(facts)
    with replacing(path) as temporary:
        frame.to_parquet(temporary, compression="zstd", index=False)


def _image_rows(evaluated: Sequence[Evaluated]) -> Iterator[dict[str, Any]]:
    for one in evaluated:
        sample = one.sample
        yield {
            "set": sample.set,
            "id": sample.id,
            "split": sample.split,
            "organ": sample.organ,
            "mpp": sample.mpp,
            "exact": sample.exact,
            **image_scores(one),
            **asdict(one.counts),
            **{name: float(n) for name, n in asdict(one.pixels).items()},
        }


def _curve_rows(evaluated: Sequence[Evaluated]) -> Iterator[dict[str, Any]]:
    """Yield precision and score at each recall; no row for sets without scores."""
    for name, ones in by_set(evaluated).items():
        ranking = ranking_of(ones)
        for level, iou in enumerate(IOUS if ranking is not None else ()):
            for recall, precision, score in _points(ranking, level):
                yield {
                    "set": name,
                    "iou": iou,
                    "recall": recall,
                    "precision": precision,
                    "score": score,
                }


def _points(ranking: Ranking | None, level: int) -> Iterator[tuple[float, ...]]:
    """Yield recall, interpolated precision, and the score that reaches the recall."""
    if ranking is None or ranking.n_truth == 0:
        return
    line = curve(ranking, level)
    at = np.searchsorted(line.recall, RECALLS)
    scores = np.append(line.scores, math.nan)[np.minimum(at, line.scores.size)]
    yield from zip(
        RECALLS.tolist(),
        interpolated(ranking, level).tolist(),
        scores.tolist(),
        strict=True,
    )


def _report(
    finder: Finder,
    evaluated: Sequence[Evaluated],
    metrics: Mapping[str, Any],
    gallery: Gallery,
) -> EvaluationReport:
    sets = by_set(evaluated)
    splits = ", ".join(sorted({one.sample.split for one in evaluated}))
    n_nuclei = sum(one.counts.n_truth for one in evaluated)
    return EvaluationReport(
        title=f"{finder.name} on {splits}",
        subtitle=f"{len(evaluated):,} annotated images of {', '.join(sets)}, "
        f"{n_nuclei:,} nuclei",
        types=finder.types,
        facts=finder.facts,
        metrics=metrics,
        sets=[_set_report(name, ones, gallery) for name, ones in sets.items()],
    )


def _set_report(name: str, ones: Sequence[Evaluated], gallery: Gallery) -> SetReport:
    counts = reduce(add, (one.counts for one in ones))
    return SetReport(
        name=name,
        n_truth=counts.n_truth,
        n_found=counts.n_found,
        n_matched=counts.n_matched,
        n_detected=counts.n_detected,
        pq={one.sample.id: image_scores(one)["pq"] for one in ones},
        organs=_organs(ones),
        worst=gallery.worst(name),
        best=gallery.best(name),
        exact=all(one.sample.exact for one in ones),
        ranking=ranking_of(ones),
        reliability=reliability_of(ones),
        confusion=confusion_of(ones),
    )


def _organs(ones: Sequence[Evaluated]) -> dict[str, float]:
    """Return the mean PQ of each organ that is named."""
    values: dict[str, list[float]] = {}
    for one in ones:
        if one.sample.organ:
            values.setdefault(one.sample.organ, []).append(image_scores(one)["pq"])
    means = {organ: mean_score(of_organ) for organ, of_organ in values.items()}
    return {organ: pq for organ, pq in means.items() if not math.isnan(pq)}
