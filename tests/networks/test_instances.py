"""Instances in torch are those of the label map, and come back as detections."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from segpipe.errors import MapsInvalid
from segpipe.geometry import Box
from segpipe.labels.masks import of_planes, one_piece
from segpipe.networks import _instances
from segpipe.networks._instances import (
    UNKNOWN,
    detections_of,
    masks_in_boxes,
    sampled,
    truth_of,
    unsure_share,
)
from segpipe.targets import UNTYPED, boxes_target

SHAPE = (2, 1, 9, 7)
label_maps = npst.arrays(np.int32, SHAPE, elements=st.sampled_from([0, 0, 1, 3, 8]))
flags = npst.arrays(np.bool_, SHAPE, elements=st.sampled_from([True] * 9 + [False]))
type_maps = npst.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, UNTYPED]))


def of(labels, **others):
    targets = {"instances": labels} | others
    return {name: torch.from_numpy(value) for name, value in targets.items()}


@given(label_maps)
def test_boxes_are_those_of_the_label_map(labels):
    truth = truth_of(of(labels), 0)
    for image in (0, 1):
        found = truth.of_image(image)
        y_first = boxes_target(labels[image, 0])
        assert np.array_equal(found.boxes[:, [1, 0, 3, 2]], y_first)
        assert not (found.types != UNKNOWN).any()


@given(label_maps, flags, flags)
def test_an_instance_with_one_pixel_in_doubt_is_unsure_all_over(labels, valid, sure):
    truth = truth_of(of(labels, valid=valid[:, 0], reliable=sure[:, 0]), 0)
    doubt = ~(valid & sure)
    for image in (0, 1):
        mine, doubted = labels[image, 0], doubt[image, 0]
        lost = np.unique(mine[doubted & (mine > 0)])
        kept = np.setdiff1d(np.unique(mine[mine > 0]), lost)
        assert truth.of_image(image).label.tolist() == kept.tolist()
        expected = doubted | np.isin(mine, lost)
        assert np.array_equal(truth.unsure[image], expected)


@given(label_maps, type_maps)
def test_the_type_is_that_of_most_pixels_that_know_one(labels, types):
    truth = truth_of(of(labels, type=types), 2)
    found = truth.instances
    for image, label, kind in zip(found.image, found.label, found.types, strict=True):
        seen = types[image, 0][labels[image, 0] == label.item()]
        votes = [np.count_nonzero(seen == known) for known in (1, 2)]
        assert kind == (1 + int(np.argmax(votes)) if any(votes) else UNKNOWN)


corners = st.tuples(*(st.integers(0, 6) for _ in range(2)))


@given(flags, st.lists(st.tuples(corners, corners), min_size=1, max_size=5))
def test_the_unsure_share_is_counted(sure, made):
    boxes = np.array([(*low, low[0] + s[0], low[1] + s[1]) for low, s in made])
    found = unsure_share(torch.from_numpy(boxes).float(), torch.from_numpy(~sure[0, 0]))
    for (x0, y0, x1, y1), share in zip(boxes, found, strict=True):
        n_unsure = np.count_nonzero(~sure[0, 0, y0:y1, x0:x1])
        area = (x1 - x0) * (y1 - y0)
        assert share == pytest.approx(n_unsure / max(area, 1))


@given(label_maps)
def test_masks_in_whole_pixel_boxes_are_the_pixels(labels):
    labels = torch.from_numpy(labels)[:, 0].long()
    boxes = torch.tensor([[1.0, 2, 5, 6], [-2, 5, 2, 9]])
    found = masks_in_boxes(labels, torch.tensor([0, 1]), torch.tensor([1, 3]), boxes, 4)
    assert torch.equal(found[0], (labels[0, 2:6, 1:5] == 1).float())
    assert torch.equal(found[1, :, 2:], (labels[1, 5:9, :2] == 3).float())
    assert not found[1, :, :2].any(), "beyond the image is background"


def test_a_cell_between_instances_is_shared():
    labels = torch.tensor([[[1, 2], [1, 2]]])
    boxes = torch.tensor([[0.0, 0, 2, 2]])
    zero = torch.zeros(1, dtype=torch.int64)
    assert masks_in_boxes(labels, zero, zero + 2, boxes, 1).item() == 0.5


@settings(max_examples=50)
@given(npst.arrays(np.bool_, (3, 9, 7)), st.sampled_from([1, 40, 1 << 22]))
def test_masks_come_back_in_tight_boxes_whole_or_in_parts(planes, at_once):
    """What lies in a box is asked for, pixel by pixel, and nothing else."""
    boxes = torch.tensor([[-3.0, -2, 9, 12], [0.5, 0, 6.2, 8.9], [2, 2, 2, 5]])
    scores = torch.tensor([0.9, 0.5, 0.1])
    types = torch.tensor([2, 1, 1])
    asked = torch.from_numpy(planes)
    most, _instances._MOST_PIXELS = _instances._MOST_PIXELS, at_once
    try:
        found = detections_of(
            boxes, scores, types, lambda n, y, x: asked[n, y, x], height=9, width=7
        )
    finally:
        _instances._MOST_PIXELS = most
    expected, rows = one_piece(
        of_planes(
            planes[:2], np.uint8([230, 128]), np.uint8([2, 1]), at=Box(0, 0, 9, 7)
        )
    )
    assert len(rows) == len(found)
    for name in ("boxes", "scores", "types", "bits"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))


def test_nothing_is_no_detections():
    none = torch.zeros(0)
    found = detections_of(
        none.view(0, 4), none, none, lambda n, _y, _x: n > 0, height=9, width=7
    )
    assert len(found) == 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_boxes_and_scores_that_are_no_numbers_are_refused(value):
    box, one = torch.tensor([[0.0, 0, 2, 3]]), torch.ones(1)
    bad = torch.tensor([[0.0, 0, value, 3]])
    for boxes, scores, name in (
        (bad, one, "4.*boxes"),
        (box, one * value, "1.*scores"),
    ):
        with pytest.raises(MapsInvalid, match=f"1 of {name}"):
            detections_of(
                boxes, scores, one, lambda n, _y, _x: n >= 0, height=9, width=7
            )


@given(st.floats(-1, 5), st.floats(-1, 4))
def test_planes_are_read_between_centres_and_go_on_beyond_them(y, x):
    """A plane that rises evenly is read exactly, up to its outermost centres."""
    slope = torch.arange(4.0)[:, None] * 10 + torch.arange(3.0)
    read = partial(sampled, torch.stack((slope * 0, slope)), torch.tensor([1]))
    expected = 10 * np.clip(y - 0.5, 0, 3) + np.clip(x - 0.5, 0, 2)
    assert read(torch.tensor([y]), torch.tensor([x])).item() == pytest.approx(
        expected, abs=1e-4
    )
