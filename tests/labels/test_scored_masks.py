"""Detections as a value: packed and unpacked, to bytes and back, damage noticed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.decoding.masks import paint
from segpipe.errors import ShapeMismatch, StoreDamaged
from segpipe.geometry import Box
from segpipe.labels.detection_bytes import from_bytes, to_bytes
from segpipe.labels.detections import Detections, concatenated
from segpipe.labels.masks import of_planes, one_piece, shared_pixels

AT = Box(-3, 10, 9, 27)


@st.composite
def planes(draw, most=6):
    """Draw masks as planes, some of them empty."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n = draw(st.integers(0, most))
    full = rng.random((n, *AT.shape)) < rng.random((n, 1, 1)) ** 2
    full &= rng.random((n, 1, 1)) < 0.9
    return full


def packed(drawn):
    n = len(drawn)
    scores, types = np.arange(n, dtype=np.uint8), np.arange(n, dtype=np.uint8) % 3
    return of_planes(drawn, scores, types, at=AT)


def plane_of(detections, row):
    return paint(detections.take(np.array([row])), AT).labels > 0


def assert_same(one, other):
    for name in ("boxes", "scores", "types", "bits"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


@given(planes())
def test_masks_come_out_as_they_went_in(drawn):
    detections = packed(drawn)
    filled = drawn[drawn.any(axis=(1, 2))]
    assert len(detections) == len(filled)
    assert np.array_equal(detections.areas, filled.sum(axis=(1, 2)))
    for row, plane in enumerate(filled):
        assert np.array_equal(plane_of(detections, row), plane)
    again = Detections.packed(
        detections.unpacked(), detections.scores, detections.types
    )
    assert_same(again, detections)


@given(planes())
def test_boxes_are_tight(drawn):
    detections = packed(drawn)
    for row, (y0, x0, y1, x1) in enumerate(detections.boxes):
        rows, cols = np.nonzero(plane_of(detections, row))
        assert (rows.min(), rows.max() + 1) == (y0 - AT.y0, y1 - AT.y0)
        assert (cols.min(), cols.max() + 1) == (x0 - AT.x0, x1 - AT.x0)


@given(planes(), st.data())
def test_taking_and_putting_together_are_those_of_lists(drawn, data):
    detections = packed(drawn)
    rows = data.draw(
        st.lists(st.integers(0, max(len(detections) - 1, 0)), max_size=8)
        if len(detections)
        else st.just([])
    )
    taken = detections.take(np.array(rows, np.int64))
    parts = [detections.take(np.array([row])) for row in rows]
    assert_same(taken, concatenated(parts))


@given(planes())
def test_bytes_give_detections_back(drawn):
    detections = packed(drawn)
    assert_same(from_bytes(to_bytes(detections)), detections)


@given(planes(), st.data())
def test_damaged_bytes_are_noticed(drawn, data):
    stored = bytearray(to_bytes(packed(drawn)))
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StoreDamaged, match="record"):
        from_bytes(bytes(stored))
    with pytest.raises(StoreDamaged, match="record"):
        from_bytes(bytes(stored[:at]))


@given(planes())
def test_shared_pixels_are_counted_for_every_pair(drawn):
    detections = packed(drawn)
    filled = drawn[drawn.any(axis=(1, 2))]
    shared = shared_pixels(detections)
    found = {
        (int(i), int(j)): int(n)
        for i, j, n in zip(shared.one, shared.other, shared.n_shared, strict=True)
    }
    n_masks = len(filled)
    pairs = ((i, j) for i in range(n_masks) for j in range(i + 1, n_masks))
    expected = {(i, j): int((filled[i] & filled[j]).sum()) for i, j in pairs}
    assert found == {pair: n for pair, n in expected.items() if n}


@given(planes())
def test_one_piece_cuts_to_the_box_and_keeps_an_order(drawn):
    detections = packed(drawn)
    within = Box(0, 12, 6, 20)
    kept, rows = one_piece(detections, within)
    inner = within.relative_to(AT).slices()
    full = [plane_of(detections, row)[inner].any() for row in range(len(detections))]
    assert np.array_equal(rows, np.flatnonzero(full))
    assert np.array_equal(kept.scores, detections.scores[rows])
    again, _ = one_piece(kept, within)
    assert_same(again, kept)


def test_arrays_that_do_not_belong_together_are_refused():
    good = packed(np.ones((2, *AT.shape), np.bool_))
    parts = {n: getattr(good, n) for n in ("boxes", "scores", "types", "bits")}
    for name, wrong, said in (
        ("boxes", good.boxes[:1], r"boxes of 2 detections must be \(2, 4\)"),
        ("boxes", good.boxes.astype(np.int32), "int64"),
        ("scores", good.scores.astype(np.float32), "uint8"),
        ("bits", good.bits[:-1], "Bitmaps of 2 boxes take"),
        ("bits", good.bits | np.uint8(1), "padding"),
        ("boxes", good.boxes[:, [2, 3, 0, 1]], "Detection 0 of 2 has the empty box"),
    ):
        with pytest.raises(ShapeMismatch, match=said):
            Detections(**{**parts, name: wrong})
    with pytest.raises(ShapeMismatch, match="fill"):
        of_planes(np.ones((1, 2, 2), np.bool_), good.scores, good.types, at=AT)


def test_boxes_beyond_the_storable_are_refused():
    far = packed(np.ones((1, *AT.shape), np.bool_))
    moved = Detections(
        boxes=far.boxes + 2**31, scores=far.scores, types=far.types, bits=far.bits
    )
    with pytest.raises(ShapeMismatch, match="beyond"):
        to_bytes(moved)
