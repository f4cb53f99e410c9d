"""A detector without a network: what each window says of a scene of known nuclei.

It sees true nuclei cut by the border of its input and mirrored beyond the slide, and
errs: masks are moved, grown or shrunk, found twice, or missed, by the window's own
dice. The type of a detection is the true nucleus's id, so scenes have at most 255.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from segpipe.decoding.masks import paint
from segpipe.geometry import Box
from segpipe.labels.detections import concatenated
from segpipe.labels.masks import of_planes
from segpipe.mirroring import mirrored
from segpipe.stitching.contested import nuclei_in
from segpipe.stitching.ownership import Ownership, claims_of
from segpipe.tiling.grid import TileGrid


def ownership_of(shape, *, side=16, margin=8, vouch=2, edge=1, run=None):
    lattice = TileGrid(shape=shape, tile_px=side)
    run = np.ones(len(lattice), np.bool_) if run is None else run
    return Ownership(
        lattice=lattice, margin_px=margin, vouch_px=vouch, edge_px=edge, run=run
    )


def input_box(ownership, window):
    """The square that is fed, whole also where its core is cut off."""
    core, side = ownership.lattice.core(window), ownership.lattice.tile_px
    whole = Box(core.y0, core.x0, core.y0 + side, core.x0 + side)
    return whole.grown(ownership.margin_px)


@dataclass(frozen=True, kw_only=True)
class Errors:
    """How a window errs."""

    seed: int = 0
    move_px: int = 0
    grow_px: int = 0
    miss: float = 0.0
    double: float = 0.0


def detect(truth, ownership, window, errors):
    """Return what the detector says of one window of a scene."""
    box = input_box(ownership, window)
    inside = box.intersection(Box.of_shape(truth.shape))
    seen = mirrored(truth[inside.slices()], inside, box)
    rng = np.random.default_rng([errors.seed, window])
    planes, types = [], []
    for label, at in enumerate(ndimage.find_objects(seen), 1):
        if at is None:
            continue
        pieces, n_pieces = ndimage.label(seen[at] == label)
        for piece in range(1, n_pieces + 1):
            for _ in range(_n_times(rng, errors)):
                mask = np.zeros(box.shape, np.bool_)
                mask[at] = pieces == piece
                planes.append(_blurred(mask, rng, errors))
                types.append(label)
    scores = rng.integers(120, 130, len(types)).astype(np.uint8)
    planes = np.array(planes, np.bool_).reshape(-1, *box.shape)
    return of_planes(planes, scores, np.array(types, np.uint8), at=box)


def _n_times(rng, errors):
    missed, doubled = rng.random(2) < (errors.miss, errors.double)
    return 0 if missed else 1 + int(doubled)


def _blurred(mask, rng, errors):
    """Grow or shrink a mask, and move it; what leaves the window is lost."""
    grow = rng.integers(-errors.grow_px, errors.grow_px + 1)
    if grow > 0:
        mask = ndimage.binary_dilation(mask, iterations=grow)
    elif grow < 0 and (shrunk := ndimage.binary_erosion(mask, iterations=-grow)).any():
        mask = shrunk
    most = errors.move_px
    dy, dx = rng.integers(0, 2 * most + 1, 2)
    height, width = mask.shape
    return np.pad(mask, most)[dy : dy + height, dx : dx + width]


def scribble(ownership, window, seed, n=12):
    """Return masks of all sizes, in pieces, that have nothing to do with nuclei."""
    rng = np.random.default_rng([seed, window])
    box = input_box(ownership, window)
    rows, cols = np.mgrid[: box.height, : box.width]
    planes = []
    for _ in range(rng.integers(0, n + 1)):
        y, x = rng.uniform(0, box.height), rng.uniform(0, box.width)
        a, b = rng.uniform(0.5, ownership.max_extent_px / rng.choice([1.5, 2, 3]), 2)
        disc = ((rows - y) / a) ** 2 + ((cols - x) / b) ** 2 <= 1
        planes.append(disc & (rng.random(box.shape) < rng.choice([0.7, 1.0])))
    planes = np.array(planes, np.bool_).reshape(-1, *box.shape)
    scores = rng.integers(126, 130, len(planes)).astype(np.uint8)
    types = rng.integers(0, 9, len(planes)).astype(np.uint8)
    return of_planes(planes, scores, types, at=box)


def crowd(ownership, window, seed, n=24):
    """Return rectangles that crowd about the corners of a window, where fates chain."""
    rng = np.random.default_rng([seed, window])
    core, side = ownership.lattice.core(window), ownership.lattice.tile_px
    corners = rng.integers(0, 2, (n, 2)) * side + [core.y0, core.x0]
    middle = corners + rng.integers(
        -ownership.vouch_px - 2, ownership.vouch_px + 3, (n, 2)
    )
    size = rng.integers(1, ownership.max_extent_px + 1, (n, 2))
    low = middle - size // 2
    return rectangles(*np.hstack([low, low + size]).tolist())


def claims_of_all(ownership, says):
    """Return the claims of every window that ran; ``says(window)`` is the detector."""
    return {
        int(window): claims_of(says(window), int(window), ownership)
        for window in np.flatnonzero(ownership.run)
    }


def resolved(claims, ownership, box=None):
    """Return the nuclei of a box, or of the slide, and how they are painted."""
    box = Box.of_shape(ownership.lattice.shape) if box is None else box
    parts = [claims[window] for window in ownership.windows_of(box)]
    nuclei = nuclei_in(box, parts, ownership)
    return nuclei, paint(nuclei, box)


def box_mask(y0, x0, y1, x1, *, score=128, kind=0):
    """Return one full rectangle."""
    return of_planes(
        np.ones((1, y1 - y0, x1 - x0), np.bool_),
        np.array([score], np.uint8),
        np.array([kind], np.uint8),
        at=Box(y0, x0, y1, x1),
    )


def rectangles(*boxes):
    """Return full rectangles, (y0, x0, y1, x1[, score[, type]]) each."""
    keys = ("score", "kind")
    return concatenated(
        [box_mask(*box[:4], **dict(zip(keys, box[4:], strict=False))) for box in boxes]
    )
