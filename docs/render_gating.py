"""Write what self-training keeps into docs/augmentation.md: part of ``make docs``.

The shipped network annotates the two tiles of ``tests/annotated``, from slides it never
saw; what a gate lets through is held against the annotation.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from render import DOCS, filled
from render_augmentation import tile

from segpipe.arrays import LabelMap, to_planes
from segpipe.metrics.overlap import overlap
from segpipe.networks import Answer, answer, load
from segpipe.networks._answers import Decoded
from segpipe.networks._flips import TURNS
from segpipe.training.annotated import at_mpp
from segpipe.training.comparing import to_shape
from segpipe.training.gating import gate

PAGE = DOCS / "augmentation.md"
GATES = ((0.5, 0.0), (0.5, 0.7), (0.8, 0.7), (0.9, 0.0), (0.9, 0.7))
"""Confidence and agreement."""
RIGHT_IOU = 0.5
COUNTED = ("nuclei kept", "of them right", "pixels that count")


class Taught(NamedTuple):
    """A tile's annotation, and what the teacher says of it as it lies and mirrored."""

    truth: LabelMap
    found: Decoded
    mirrored: LabelMap


def taught() -> Iterator[Taught]:
    """Ask the teacher about each tile."""
    teacher = load("hoverlite")

    def decoded(said: Answer) -> Decoded:
        return said.decode(teacher.decoding)

    for name in ("09_1", "10_1"):
        annotated = tile(name)
        planes = to_planes(at_mpp(annotated, teacher.card.mpp).image)
        yield Taught(
            truth=annotated.labels,
            found=decoded(answer(teacher, planes)),
            mirrored=decoded(answer(teacher, planes, TURNS[1])).labels,
        )


def row(tiles: list[Taught], confidence: float, agreement: float) -> str:
    """Return a line of the table: what a gate keeps, and how much of it is right."""
    n_kept = n_right = n_known = n_px = 0
    for truth, found, mirrored in tiles:
        gated = gate(
            found.labels,
            found.maps,
            confidence=confidence,
            agreement=agreement,
            mirrored=mirrored,
        )
        table = overlap(truth, to_shape(gated.labels, truth.shape))
        n_kept += len(np.unique(gated.labels[gated.labels > 0]))
        n_right += int((table.iou > RIGHT_IOU).sum())
        n_known += int(gated.known.sum())
        n_px += gated.known.size
    shares = f"{n_right / max(1, n_kept):.0%} | {n_known / n_px:.0%}"
    return f"| {confidence:g} | {agreement:g} | {n_kept} | {shares} |"


def rendered() -> str:
    """Return the page with its table as it should be."""
    names = ("`confidence`", "`agreement`", *COUNTED)
    tiles = list(taught())
    head = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    lines = [*head, *(row(tiles, *one) for one in GATES)]
    return filled(PAGE.read_text(encoding="utf-8"), "gates", "\n".join(lines))


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
