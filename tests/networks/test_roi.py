"""RoIAlign and RoIPool equal loops over bins, points and pixels, and torchvision's."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.networks._kernels import torchvision_ops
from segpipe.networks._roi import (
    Regions,
    _by_level,
    levels_of,
    roi_align,
    roi_pool,
)

SHAPE = (2, 3, 6, 9)
"""Batch, channels, height and width of the features."""


@st.composite
def regions(draw, most=5):
    """Boxes inside and beyond the features, of any size."""
    at, side = st.floats(-12, 44, width=32), st.floats(0.125, 40, width=32)
    rows = draw(
        st.lists(st.tuples(at, at, side, side), min_size=0, max_size=most).map(
            lambda rows: np.array(rows, np.float32).reshape(-1, 4)
        )
    )
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
    image = draw(st.lists(st.integers(0, 1), min_size=len(rows), max_size=len(rows)))
    return Regions(
        torch.from_numpy(boxes),
        torch.tensor(image, dtype=torch.int64),
        torch.zeros(len(rows), dtype=torch.int64),
    )


def features(seed=0, shape=SHAPE, dtype=torch.float32):
    torch.manual_seed(seed)
    return torch.randn(shape, dtype=dtype)


def read_between(plane, y, x):
    """A bilinear sample: 0 beyond one pixel outside, the edge's value up to there."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    total = 0.0
    for v in (math.floor(y), math.floor(y) + 1):
        for u in (math.floor(x), math.floor(x) + 1):
            weight = max(0, 1 - abs(y - v)) * max(0, 1 - abs(x - u))
            if weight:
                total += weight * plane[v, u]
    return total


def naive_align(planes, found, stride, *, size, samples, aligned):
    half = 0.5 if aligned else 0.0
    pooled = np.zeros((len(found.boxes), planes.shape[1], size, size))
    for n, (box, image) in enumerate(
        zip(found.boxes.tolist(), found.image, strict=True)
    ):
        x0, y0, x1, y1 = (edge / stride - half for edge in box)
        sides = [y1 - y0, x1 - x0]
        sides = [s if aligned else max(s, 1) for s in sides]
        bins = [s / size for s in sides]
        n_y, n_x = (samples or max(1, math.ceil(b)) for b in bins)
        for c, plane in enumerate(planes[image].numpy()):
            for i, j in np.ndindex(size, size):
                points = [
                    read_between(
                        plane,
                        y0 + (i + (v + 0.5) / n_y) * bins[0],
                        x0 + (j + (u + 0.5) / n_x) * bins[1],
                    )
                    for v, u in np.ndindex(n_y, n_x)
                ]
                pooled[n, c, i, j] = np.mean(points)
    return pooled


def rounded(x):
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def naive_pool(planes, found, stride, *, size):
    height, width = planes.shape[2:]
    pooled = np.zeros((len(found.boxes), planes.shape[1], size, size), np.float32)
    for n, (box, image) in enumerate(
        zip(found.boxes.tolist(), found.image, strict=True)
    ):
        x0, y0, x1, y1 = (rounded(edge / stride) for edge in box)
        high, wide = (
            np.float32(max(b - a + 1, 1)) / np.float32(size)
            for a, b in ((y0, y1), (x0, x1))
        )
        for i, j in np.ndindex(size, size):
            rows = slice(
                *(
                    min(max(int(edge) + y0, 0), height)
                    for edge in (np.floor(i * high), np.ceil((i + 1) * high))
                )
            )
            cols = slice(
                *(
                    min(max(int(edge) + x0, 0), width)
                    for edge in (np.floor(j * wide), np.ceil((j + 1) * wide))
                )
            )
            seen = planes[image][:, rows, cols].numpy()
            if seen.size:
                pooled[n, :, i, j] = seen.max(axis=(1, 2))
    return pooled


@settings(max_examples=60)
@given(regions(), st.integers(1, 3), st.integers(0, 3), st.booleans())
def test_roi_align_is_the_mean_of_bilinear_samples(found, size, samples, aligned):
    planes, how = features(), {"size": size, "samples": samples, "aligned": aligned}
    # A point just at the rim of what is seen may be rounded to either side of it.
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-4)
    close(roi_align([planes], found, [4], **how), naive_align(planes, found, 4, **how))


@settings(max_examples=60)
@given(regions(), st.integers(1, 3))
def test_roi_pool_is_the_maximum_over_bins(found, size):
    planes = features()
    pooled = roi_pool([planes], found, [4], size=size)
    np.testing.assert_array_equal(pooled, naive_pool(planes, found, 4, size=size))


@settings(max_examples=30)
@given(regions(), st.data())
def test_a_pyramid_is_pooled_as_its_levels_are(found, data):
    n = len(found.boxes)
    level = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    level = torch.tensor(level, dtype=torch.int64)
    planes = [features(0), features(1, (2, 3, 3, 5))]
    for pool in (partial(roi_align, size=2), partial(roi_pool, size=2)):
        together = pool(planes, found._replace(level=level), [4, 8])
        for index, stride in enumerate((4, 8)):
            rows = level == index
            alone = Regions(*(column[rows] for column in found[:2]), level[rows] * 0)
            torch.testing.assert_close(
                together[rows], pool([planes[index]], alone, [stride])
            )


def test_gradients_reach_every_feature_that_is_read():
    found = Regions(
        torch.tensor([[1.0, 2, 17, 20], [-5, 3, 9, 40]]).double(),
        torch.tensor([0, 1]),
        torch.tensor([0, 1]),
    )
    planes = [
        features(seed, shape, torch.float64).requires_grad_()
        for seed, shape in enumerate([(2, 2, 5, 6), (2, 2, 3, 3)])
    ]
    for pool in (partial(roi_align, size=2), partial(roi_pool, size=2)):
        assert torch.autograd.gradcheck(
            lambda *levels, pool=pool: pool(levels, found, [4, 8]), planes
        )


def test_boxes_are_read_at_the_level_of_their_size():
    sides = torch.tensor([8.0, 64, 112, 224, 448, 2000])
    boxes = torch.stack((sides * 0, sides * 0, sides, sides), dim=1)
    assert levels_of(boxes, 4).tolist() == [0, 0, 1, 2, 3, 3]


@pytest.mark.skipif(torchvision_ops() is None, reason="torchvision doesn't import")
@settings(max_examples=60)
@given(regions(), st.integers(1, 3), st.integers(0, 3), st.booleans())
def test_both_are_torchvisions(found, size, samples, aligned):
    planes, ops = features(), torchvision_ops()
    align = partial(
        ops.roi_align, output_size=size, sampling_ratio=samples, aligned=aligned
    )
    theirs = _by_level(align, [planes], found, [4])
    ours = roi_align([planes], found, [4], size=size, samples=samples, aligned=aligned)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-4)
    pooled = _by_level(partial(ops.roi_pool, output_size=size), [planes], found, [4])
    assert torch.equal(roi_pool([planes], found, [4], size=size), pooled)
