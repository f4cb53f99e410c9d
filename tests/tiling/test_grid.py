"""A grid partitions its array; a halo changes what is read, never what is written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import SettingsError
from segpipe.geometry import Box
from segpipe.tiling.grid import TileGrid

sides = st.integers(1, 400)
grids = st.builds(TileGrid, shape=st.tuples(sides, sides), tile_px=st.integers(16, 500))


@given(grids)
def test_cores_partition_the_array(grid):
    covered = np.zeros(grid.shape, np.int32)
    for index in range(len(grid)):
        covered[grid.core(index).slices()] += 1
    assert np.all(covered == 1)


@given(grids, st.integers(0, 60))
def test_halo_never_changes_cores_and_stays_inside(grid, halo_px):
    whole = Box.of_shape(grid.shape)
    for index in range(len(grid)):
        read_box = grid.read_box(index, halo_px)
        assert read_box.contains(grid.core(index))
        assert whole.contains(read_box)


@given(grids, st.data())
def test_a_pixel_lies_in_the_core_of_its_cell(grid, data):
    y = data.draw(st.integers(0, grid.shape[0] - 1))
    x = data.draw(st.integers(0, grid.shape[1] - 1))
    assert grid.core(grid.index_at(y, x)).contains(Box(y, x, y + 1, x + 1))


@given(grids)
def test_neighbours_share_a_side(grid):
    for index in range(len(grid)):
        core = grid.core(index)
        east, south = grid.east_of(index), grid.south_of(index)
        assert (east is None) == (core.x1 == grid.shape[1])
        assert (south is None) == (core.y1 == grid.shape[0])
        if east is not None:
            assert grid.core(east).x0 == core.x1
            assert grid.core(east).y0 == core.y0
        if south is not None:
            assert grid.core(south).y0 == core.y1
            assert grid.core(south).x0 == core.x0


@given(grids, st.data())
def test_overlapping_names_exactly_the_cells_that_intersect(grid, data):
    ys = sorted(data.draw(st.tuples(*[st.integers(-50, grid.shape[0] + 50)] * 2)))
    xs = sorted(data.draw(st.tuples(*[st.integers(-50, grid.shape[1] + 50)] * 2)))
    box = Box(ys[0], xs[0], ys[1], xs[1])
    found = set(grid.overlapping(box))
    wanted = {i for i in range(len(grid)) if grid.core(i).intersects(box)}
    assert found == wanted


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(SettingsError, match="positive sizes"):
        TileGrid(shape=(0, 5), tile_px=64)


def test_a_cell_that_is_not_there_is_refused():
    with pytest.raises(IndexError, match="Cell 4 of a grid of 4"):
        TileGrid(shape=(100, 100), tile_px=64).core(4)
