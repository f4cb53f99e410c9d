"""The seam check is quiet on nuclei that ignore seams and loud on those that don't."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.geometry import Box
from segpipe.tables.frame import Frame
from segpipe.tables.seams import check_seams, share_within

WINDOW_PX = 164
SHAPE = (1500, 2100)


def frame(window_px=WINDOW_PX, shape=SHAPE):
    return Frame(
        box=Box.of_shape(shape),
        mpp=0.5,
        downsample=2.0,
        canvas_shape=shape,
        window_px=window_px,
    )


def nuclei(centres, half_px, area_um2=None):
    """Square nuclei around centres (N, 2), as columns."""
    low, high = centres - half_px, centres + half_px
    return {
        "anchor": (low[:, 0] * SHAPE[1] + low[:, 1]).astype(np.int64),
        "area_um2": np.full(len(centres), 30.0) if area_um2 is None else area_um2,
        "ymin_l0_px": low[:, 0] * 2.0,
        "xmin_l0_px": low[:, 1] * 2.0,
        "ymax_l0_px": high[:, 0] * 2.0,
        "xmax_l0_px": high[:, 1] * 2.0,
    }


@pytest.fixture
def centres(rng):
    return np.floor(rng.uniform(8, np.array(SHAPE) - 8, (20_000, 2)))


def test_scattered_nuclei_show_no_seams(centres):
    found = check_seams([nuclei(centres, 5)], frame())
    assert found.density_ratio == pytest.approx(1, abs=0.03)
    assert found.area_ratio == 1
    assert found.straight_share_near == pytest.approx(2 / 40, rel=0.2)
    assert found.straight_share_interior == pytest.approx(2 / 40, rel=0.2)


def test_nuclei_missing_at_seams_lower_the_density_there(centres):
    table = nuclei(centres, 5)
    gaps = [np.abs(c % WINDOW_PX - WINDOW_PX / 2) for c in centres.T]
    kept = np.maximum(*gaps) < WINDOW_PX / 2 - 10
    found = check_seams([{name: c[kept] for name, c in table.items()}], frame())
    assert found.density_ratio < 0.7


def test_one_nucleus_that_ends_on_a_line_and_one_that_does_not():
    on_seam, near_seam, on_half, near_half = (
        (300.0, WINDOW_PX * 2 - 5.0),
        (300.0, WINDOW_PX * 4 - 3.0),
        (220.0, WINDOW_PX * 1.5 - 5.0),
        (220.0, WINDOW_PX * 3.5 - 1.0),
    )
    centres = np.array([on_seam, near_seam, on_half, near_half])
    found = check_seams([nuclei(centres, 5)], frame())
    assert (found.n_near, found.n_interior) == (2, 2)
    assert found.straight_share_near == 0.5
    assert found.straight_share_interior == 0.5
    found = check_seams([nuclei(centres[[0, 1, 3]], 5)], frame())
    assert found.straight_share_interior == 0


def test_nuclei_cut_at_seams_end_there(centres):
    cut = np.where(np.arange(len(centres)) % 10 == 0, WINDOW_PX * 3 - 5, centres[:, 1])
    found = check_seams([nuclei(np.stack([centres[:, 0], cut], 1), 5)], frame())
    assert found.straight_share_near > 4 * found.straight_share_interior


def test_a_table_read_in_parts_gives_the_same(centres):
    table = nuclei(centres, 5, area_um2=np.arange(len(centres)) * 0.5)
    cuts = np.split(np.arange(len(centres)), [100, 101, 7000])
    parts = [{name: c[at] for name, c in table.items()} for at in cuts]
    assert check_seams(parts, frame()) == check_seams([table], frame())


def test_a_slide_of_one_window_has_no_seams_to_check():
    table = nuclei(np.array([[50.0, 60.0]]), 5)
    assert check_seams([table], frame(4096)) is None


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 50),
    st.integers(0, 30),
)
def test_the_share_near_seams_is_that_of_the_pixels(height, width, window_px, distance):
    found = share_within(distance, frame(window_px, (height, width)))
    y, x = (np.arange(length * 4) / 4 + 0.125 for length in (height, width))
    far_y, far_x = (
        np.all(
            np.abs(at[:, None] - np.arange(window_px, n, window_px)) > distance, axis=1
        )
        for at, n in ((y, height), (x, width))
    )
    assert found == pytest.approx(1 - far_y.mean() * far_x.mean())
