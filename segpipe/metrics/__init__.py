"""How well a label map agrees with the truth: additive counts, and scores from them."""

from segpipe.metrics.counts import Counts, count
from segpipe.metrics.detections import TypeCounts, TypedLabels, count_types
from segpipe.metrics.scores import scores, type_scores

__all__ = [
    "Counts",
    "TypeCounts",
    "TypedLabels",
    "count",
    "count_types",
    "scores",
    "type_scores",
]
