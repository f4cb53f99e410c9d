"""Pixels beyond the slide are those inside, mirrored."""

import numpy as np

from segpipe.geometry import Box
from segpipe.mirroring import mirrored

WHOLE = Box(0, 0, 90, 70)


def test_a_box_beyond_the_array_is_mirrored(rng):
    whole = rng.integers(0, 255, (3, 90, 70)).astype(np.uint8)
    box = Box(-4, 40, 20, 90)
    inside = box.intersection(WHOLE)
    rows, cols = inside.slices()
    wanted = np.pad(whole, [(0, 0), (4, 0), (0, 20)], mode="symmetric")[:, :24, 40:]
    assert np.array_equal(mirrored(whole[:, rows, cols], inside, box), wanted)


def test_a_box_inside_stays_as_it_is(rng):
    whole = rng.integers(0, 255, (3, 90, 70)).astype(np.uint8)
    inner = Box(3, 4, 50, 60)
    rows, cols = inner.slices()
    pixels = whole[:, rows, cols]
    assert np.array_equal(mirrored(pixels, inner, inner), pixels)


def test_an_array_smaller_than_its_margin_is_mirrored_again_and_again(rng):
    whole = rng.integers(0, 255, (3, 90, 70)).astype(np.uint8)
    read = mirrored(whole, WHOLE, Box(-64, -64, 576, 576))
    assert read.shape == (3, 640, 640)
    assert np.array_equal(read[:, 64:154, 64:134], whole)
