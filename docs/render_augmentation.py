"""Draw the picture of docs/augmentation.md: ``python docs/render_augmentation.py``.

A patch as it is, and what each kind of chance makes of it, with the outlines of its
labels: geometry must move both, and nothing else may.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.arrays import RGB, LabelMap
from segpipe.training.annotated import Annotated, at_mpp, read_annotated
from segpipe.training.appearance import degrade, stain_jitter
from segpipe.training.augment import OFF, Augmentation, CopyPaste
from segpipe.training.copy_paste import Cutout, cut_out, paste_nuclei
from segpipe.training.manifest import Sample
from segpipe.training.nuclei import nuclei_of
from segpipe.training.scene import Scene, look_up
from segpipe.training.warp import sampling_field

DOCS = Path(__file__).parent
TILES = DOCS.parent / "tests" / "annotated"
PICTURE = DOCS / "augmentation.jpg"
SIDE, ZOOM, COLUMNS, GAP, TITLE = 112, 2, 4, 8, 26
CENTRE = (109.5, 127.5)
MPP = 0.5
OLD, NEW = (20, 160, 60), (250, 210, 0)

KINDS: Mapping[str, Mapping[str, Any]] = {
    "flips and quarter turns": {},
    "scale": {"scale": 0.6},
    "turn": {"turn_deg": 40},
    "elastic": {"elastic_px": 2.5, "elastic_knots": 5},
    "elastic as U-Net's": {"elastic_px": 10, "elastic_knots": 3},
    "stain": {"stain": 0.8},
    "tint": {"tint": 0.15},
    "contrast and brightness": {"contrast": 0.5, "brightness": 0.08},
    "blur": {"blur_px": 2.0, "chance": 1},
    "sharpening": {"sharpening": 3.0, "chance": 1},
    "noise": {"noise": 20, "chance": 1},
    "JPEG": {"jpeg_quality": 12, "chance": 1},
    "copy-paste": {"copy_paste": CopyPaste(chance=1, most=12)},
}
"""Of each kind, the settings that are shown; stronger than the defaults, to be seen."""
UPRIGHT, TURNED = 8, 3
"""Seeds of a patch that is left as it lies, and of one that is not."""


def tile(name: str) -> Annotated:
    """Read one of the annotated tiles that the tests use."""
    image, labels = (TILES / f"{name}.{end}" for end in ("jpg", "png"))
    sample = Sample(set="tnbc", id=name, split="", image=image, labels=labels, mpp=0.25)
    return read_annotated(sample)


def drawn(aug: Augmentation, seed: int) -> tuple[Scene, int]:
    """Draw the patch at one place; return it and the highest id that isn't pasted."""
    rng = np.random.default_rng(seed)
    giver = at_mpp(tile("09_1"), MPP)
    whole = [nucleus for nucleus in nuclei_of(giver) if nucleus.whole]

    def draw() -> Cutout:
        nucleus = whole[rng.integers(len(whole))]
        return cut_out(giver, nucleus, aug.copy_paste, rng)

    scene = look_up(at_mpp(tile("10_1"), MPP), *sampling_field(SIDE, CENTRE, aug, rng))
    last = int(scene.labels.max())
    scene = paste_nuclei(scene, draw, aug.copy_paste, rng)
    rgb = degrade(stain_jitter(scene.rgb, aug, rng), aug, rng)
    return replace(scene, rgb=rgb), last


def panel(title: str, aug: Augmentation, seed: int) -> RGB:
    """Return a patch, enlarged, with the outlines of its labels, under its title."""
    scene, last = drawn(aug, seed)
    size = (SIDE * ZOOM, SIDE * ZOOM)
    rgb = cv2.resize(scene.rgb, size, interpolation=cv2.INTER_CUBIC)
    labels = cv2.resize(scene.labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    edges = outlines(labels)
    rgb[edges & (labels <= last)] = OLD
    rgb[edges & (labels > last)] = NEW
    framed = np.full((size[1] + TITLE + GAP, size[0] + GAP, 3), 255, np.uint8)
    framed[TITLE : TITLE + size[1], : size[0]] = rgb
    place, font = (0, TITLE - 8), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(framed, title, place, font, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def outlines(labels: LabelMap) -> NDArray[np.bool_]:
    """Return the pixels of instances that touch something else."""
    edges = np.zeros(labels.shape, np.bool_)
    for axis in (0, 1):
        for step in (-1, 1):
            edges |= np.roll(labels, step, axis) != labels
    return edges & (labels > 0)


def render() -> RGB:
    """Return the whole picture."""
    panels = [panel("as it is", OFF, UPRIGHT)]
    for name, settings in KINDS.items():
        seed = UPRIGHT if settings else TURNED
        panels.append(panel(name, replace(OFF, **settings), seed))
    panels.append(panel("all, as trained by default", Augmentation(), TURNED))
    blank = np.full_like(panels[0], 255)
    panels += [blank] * (-len(panels) % COLUMNS)
    rows = [panels[at : at + COLUMNS] for at in range(0, len(panels), COLUMNS)]
    return np.vstack([np.hstack(row) for row in rows])


def difference(picture: RGB) -> float:
    """Return by how many grey levels a picture differs from the one in the docs.

    Means of 4 x 4 pixels are compared: JPEG keeps them.
    """
    there = cv2.imread(str(PICTURE), cv2.IMREAD_COLOR_RGB)
    if there is None or there.shape != picture.shape:
        return 255.0
    one, other = (
        cv2.resize(whole, None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA)
        for whole in (there, picture)
    )
    return float(np.abs(one.astype(np.float32) - other).mean())


if __name__ == "__main__":
    coding = [cv2.IMWRITE_JPEG_QUALITY, 90]
    coding += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    cv2.imwrite(str(PICTURE), render()[..., ::-1], coding)
