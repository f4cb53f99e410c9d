"""How well a label map agrees with the truth: additive counts, and scores from them."""

from segpipe.metrics.counts import Counts, count, count_overlap
from segpipe.metrics.pixels import PixelCounts, count_pixels
from segpipe.metrics.ranking import Ranking, rank
from segpipe.metrics.reliability import Reliability, count_reliability
from segpipe.metrics.scores import (
    mean_score,
    pixel_scores,
    ranking_scores,
    scores,
    type_pq,
    type_scores,
)
from segpipe.metrics.types import TypeCounts, Typing, confusion, count_types

__all__ = [
    "Counts",
    "PixelCounts",
    "Ranking",
    "Reliability",
    "TypeCounts",
    "Typing",
    "confusion",
    "count",
    "count_overlap",
    "count_pixels",
    "count_reliability",
    "count_types",
    "mean_score",
    "pixel_scores",
    "rank",
    "ranking_scores",
    "scores",
    "type_pq",
    "type_scores",
]
