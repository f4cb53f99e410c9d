"""Outlines are valid polygons that rebuild the label map, pixel for pixel."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from segpipe.tables.contours import to_wkb, trace
from segpipe.tables.crops import find_crops


@st.composite
def label_maps(draw):
    """Instances of noise at any density, 4-connected, as dense in pinches as can be."""
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    density = draw(st.floats(0.05, 0.98))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise = rng.random((height, width)) < density
    return label(noise, connectivity=1).astype(np.int32)


def outlined(labels, origin=(0, 0), downsample=1.0):
    ids = np.unique(labels[labels > 0])
    packed = to_wkb(trace(find_crops(labels, ids)), origin, downsample)
    return ids, shapely.from_wkb([packed[row] for row in range(len(packed))])


def rasterised(ids, polygons, shape):
    """Put each id where a pixel's centre lies inside its polygon."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    labels = np.zeros(shape, np.int32)
    for own, polygon in zip(ids, polygons, strict=True):
        labels[shapely.contains_xy(polygon, x, y)] = own
    return labels


@settings(max_examples=150, deadline=None)
@given(label_maps())
def test_outlines_are_valid_and_rebuild_the_label_map(labels):
    ids, polygons = outlined(labels)
    assert shapely.is_valid(polygons).all(), shapely.is_valid_reason(polygons)
    assert (shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON).all()
    np.testing.assert_array_equal(rasterised(ids, polygons, labels.shape), labels)
    np.testing.assert_array_equal(shapely.area(polygons), np.bincount(labels.flat)[ids])


@settings(max_examples=50, deadline=None)
@given(label_maps())
def test_exteriors_run_counterclockwise_and_holes_clockwise(labels):
    _, polygons = outlined(labels)
    for polygon in polygons:
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)


@settings(max_examples=50, deadline=None)
@given(label_maps())
def test_an_outline_has_no_vertex_on_a_straight_line(labels):
    _, polygons = outlined(labels)
    for polygon in polygons:
        for ring in (polygon.exterior, *polygon.interiors):
            steps = np.diff(np.array(ring.coords), axis=0)
            steps = np.vstack([steps, steps[:1]])
            assert not np.any(np.all((steps[1:] == 0) == (steps[:-1] == 0), axis=1))


def test_a_ring_that_closes_over_a_corner_gets_a_hole_that_touches_it_there():
    labels = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]])
    labels = np.pad(labels, 1).astype(np.int32)
    _, (polygon,) = outlined(labels)
    assert len(polygon.interiors) == 1
    touch = polygon.interiors[0].intersection(polygon.exterior)
    assert touch == shapely.Point(3, 3)
    assert shapely.is_valid(polygon)


@given(st.integers(0, 2**20), st.integers(0, 2**20), st.floats(0.25, 16))
def test_vertices_are_level_0_pixels_x_before_y(y0, x0, downsample):
    _, (polygon,) = outlined(np.ones((1, 2), np.int32), (y0, x0), downsample)
    xmin, ymin, xmax, ymax = polygon.bounds
    assert (ymin, xmin) == (y0 * downsample, x0 * downsample)
    assert (ymax, xmax) == ((y0 + 1) * downsample, (x0 + 2) * downsample)
