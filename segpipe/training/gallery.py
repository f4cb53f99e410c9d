"""The best and the worst images of each set, drawn while the evaluation goes by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import attrgetter

from segpipe.arrays import LabelMap
from segpipe.metrics import scores
from segpipe.report.looks import Look
from segpipe.report.mistakes import draw_mistakes
from segpipe.report.pictures import data_uri
from segpipe.training.annotated import Annotated
from segpipe.training.comparing import Evaluated, known_part

N_LOOKS = 3
"""Pictures of the best, and of the worst, of a set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    pq: float
    id: str
    look: Look


@dataclass(slots=True)
class Gallery:
    """Pictures of at most ``N_LOOKS`` images of lowest and highest PQ of each set.

    Only pictures are kept, not images, so memory doesn't grow with the set.
    """

    _worst: dict[str, list[_Drawn]] = field(default_factory=dict)
    _best: dict[str, list[_Drawn]] = field(default_factory=dict)

    def add(self, annotated: Annotated, labels: LabelMap, evaluated: Evaluated) -> None:
        """Draw an image if it is among the best or worst so far."""
        pq = scores(evaluated.counts)["pq"]
        if math.isnan(pq):
            return
        for drawn, sign in ((self._worst, 1), (self._best, -1)):
            kept = drawn.setdefault(evaluated.sample.set, [])
            if len(kept) == N_LOOKS and sign * pq >= sign * kept[-1].pq:
                continue
            look = _look(annotated, labels, evaluated, at_mistakes=sign == 1)
            kept.append(_Drawn(pq=pq, id=evaluated.sample.id, look=look))
            kept.sort(key=attrgetter("pq"), reverse=sign == -1)
            del kept[N_LOOKS:]

    def worst(self, name: str) -> tuple[Look, ...]:
        """Return the pictures of a set's worst images, the worst first."""
        return tuple(one.look for one in self._worst.get(name, ()))

    def best(self, name: str) -> tuple[Look, ...]:
        """Return those of its best images that aren't among the worst."""
        shown = {one.id for one in self._worst.get(name, ())}
        best = self._best.get(name, ())
        return tuple(one.look for one in best if one.id not in shown)


def _look(
    annotated: Annotated, labels: LabelMap, evaluated: Evaluated, *, at_mistakes: bool
) -> Look:
    counts = evaluated.counts
    annotated, found = known_part(annotated, labels)
    drawn = draw_mistakes(
        annotated.image, annotated.labels, found, at_mistakes=at_mistakes
    )
    row = scores(counts)
    organ = f", {annotated.sample.organ}" if annotated.sample.organ else ""
    caption = (
        f"{annotated.sample.id}{organ}: PQ {row['pq']:.2f} (DQ {row['dq']:.2f}, "
        f"SQ {row['sq']:.2f}); {counts.n_truth} nuclei, {counts.n_found} found"
    )
    return Look(source=data_uri(drawn), caption=caption)
