"""What each network finds in one piece of tissue, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from contest import DOCS, TILES
from segpipe.arrays import RGB, LabelMap
from segpipe.networks import LoadedNetwork
from segpipe.report.overlays import inner_outlines
from segpipe.training.annotated import Annotated, read_annotated
from segpipe.training.comparing import to_shape
from segpipe.training.finding import answer_image
from segpipe.training.manifest import Sample

PICTURE = DOCS / "networks.jpg"
TOP, LEFT, SIDE, COLUMNS, GAP, TITLE = 40, 230, 256, 4, 8, 24
TRUTH, FOUND = (20, 160, 60), (250, 210, 0)


def tile() -> Annotated:
    """Return an annotated tile that no contender was trained on."""
    image, labels = (TILES / f"10_1.{end}" for end in ("jpg", "png"))
    sample = Sample(
        set="tnbc", id="10_1", split="", image=image, labels=labels, mpp=0.25
    )
    return read_annotated(sample)


def panel(title: str, rgb: RGB, labels: LabelMap, colour: tuple[int, ...]) -> RGB:
    """Return the piece with outlines, under its title."""
    piece = np.s_[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    drawn = rgb[piece].copy()
    drawn[inner_outlines(labels)[piece]] = colour
    framed = np.full((TITLE + SIDE + GAP, SIDE + GAP, 3), 255, np.uint8)
    framed[TITLE : TITLE + SIDE, :SIDE] = drawn
    font, black = cv2.FONT_HERSHEY_SIMPLEX, (0, 0, 0)
    cv2.putText(framed, title, (0, TITLE - 8), font, 0.45, black, 1, cv2.LINE_AA)
    return framed


def drawn(contenders: Mapping[str, LoadedNetwork]) -> RGB:
    """Return the annotation, and what each contender finds."""
    annotated = tile()
    rgb, shape = annotated.image, annotated.labels.shape
    panels = [panel("annotation", rgb, annotated.labels, TRUTH)]
    for name, loaded in contenders.items():
        found = answer_image(loaded, annotated).decode(loaded.decoding).labels
        panels.append(panel(name, rgb, to_shape(found, shape), FOUND))
    panels += [np.full_like(panels[0], 255)] * (-len(panels) % COLUMNS)
    rows = [panels[at : at + COLUMNS] for at in range(0, len(panels), COLUMNS)]
    return np.vstack([np.hstack(row) for row in rows])


def write_picture(contenders: Mapping[str, LoadedNetwork]) -> None:
    """Draw ``docs/networks.jpg``."""
    coding = [cv2.IMWRITE_JPEG_QUALITY, 88]
    cv2.imwrite(str(PICTURE), drawn(contenders)[..., ::-1], coding)
