"""The picture of a slide shows the right places, for slides of any shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.geometry import Box
from segpipe.report.density import density_of
from segpipe.report.details import Detail, choose_boxes
from segpipe.report.overview import Overview, draw_overview, with_title
from segpipe.report.pictures import write_png
from segpipe.report.scalebars import length_text, round_length


@st.composite
def scattered(draw):
    shape = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y, x = rng.uniform(0, 1, (2, draw(st.integers(0, 60))))
    return shape, y * shape[0], x * shape[1]


@given(scattered(), st.integers(1, 150))
def test_close_looks_are_disjoint_and_on_the_canvas(place, side_px):
    shape, y, x = place
    boxes = choose_boxes(y, x, canvas_shape=shape, side_px=side_px)
    assert len(boxes) <= 3
    for index, box in enumerate(boxes):
        assert Box.of_shape(shape).contains(box)
        assert box.shape == (min(side_px, shape[0]), min(side_px, shape[1]))
        assert not any(box.intersects(other) for other in boxes[:index])


@given(scattered(), st.integers(1, 150), st.randoms(use_true_random=False))
def test_close_looks_do_not_depend_on_the_order_of_nuclei(place, side_px, random):
    shape, y, x = place
    order = random.sample(range(y.size), y.size)
    boxes = choose_boxes(y, x, canvas_shape=shape, side_px=side_px)
    again = choose_boxes(y[order], x[order], canvas_shape=shape, side_px=side_px)
    assert boxes == again


def test_the_first_close_look_is_the_densest_place(rng):
    y, x = rng.uniform(0, 1000, (2, 300))
    y[:100], x[:100] = rng.uniform(400, 500, (2, 100))
    first, *_ = choose_boxes(y, x, canvas_shape=(1000, 1000), side_px=100)
    assert first == Box(400, 400, 500, 500)


def test_density_adds_up_to_the_number_of_nuclei(rng):
    y, x = rng.normal(500, 60, (2, 5000))
    density = density_of(y, x, canvas_shape=(1000, 1000), mpp=0.5)
    assert density.per_mm2.mean() * 0.5**2 == pytest.approx(5000, rel=1e-6)


def overview_of(shape, n, rng):
    y, x = rng.uniform(0, 1, (2, n)) * np.array(shape)[:, None]
    boxes = choose_boxes(y, x, canvas_shape=shape, side_px=64)
    details = [
        Detail(
            box=box,
            rgb=np.full((*box.shape, 3), 200, np.uint8),
            labels=np.ones(box.shape, np.int32),
        )
        for box in boxes
    ]
    thumbnail = np.full((-(-shape[0] // 4), -(-shape[1] // 4), 3), 230, np.uint8)
    return Overview(
        thumbnail=thumbnail,
        y_px=y,
        x_px=x,
        canvas_shape=shape,
        mpp=0.5,
        details=details,
    )


@pytest.mark.parametrize(
    ("shape", "n"),
    [
        ((600, 400), 50),
        ((300, 3000), 200),
        ((3000, 200), 200),
        ((1, 1), 1),
        ((90, 80), 0),
    ],
)
def test_a_slide_of_any_shape_has_a_picture(shape, n, rng):
    picture = draw_overview(overview_of(shape, n, rng))
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (1680, 3)
    assert picture.std() > 0


def test_the_picture_is_the_same_each_time(rng, tmp_path):
    overview = overview_of((600, 400), 50, rng)
    for name in ("a.png", "b.png"):
        write_png(
            tmp_path / name, with_title(draw_overview(overview), "s", "1 nucleus")
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@settings(max_examples=50)
@given(st.floats(0.01, 1e6))
def test_scale_bars_have_a_round_length_that_fits(longest_um):
    length_um = round_length(longest_um)
    assert longest_um / 2.5 < length_um <= longest_um
    assert length_text(length_um).split()[0].strip("0.")[:1] in {"1", "2", "5"}
