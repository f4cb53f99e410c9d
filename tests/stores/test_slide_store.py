"""A store gives back what was written, and says so when it can't."""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from segpipe.errors import StoreDamaged
from segpipe.geometry import Box
from segpipe.stores import slide_store
from segpipe.stores.slide_store import ArraySpec, SlideStore, chunk_px_of
from segpipe.tiling.grid import TileGrid


@pytest.fixture
def store(tmp_path):
    store = SlideStore(tmp_path / "slide.zarr")
    store.create(ArraySpec(path="maps/hv", shape=(2, 90, 70), unit_px=32, dtype="int8"))
    store.create(
        ArraySpec(path="image", shape=(3, 90, 70), unit_px=32, dtype="uint8", fill=255)
    )
    return store


def test_what_is_written_is_read(store, rng):
    pixels = rng.integers(-127, 128, (2, 32, 32)).astype(np.int8)
    store.write("maps/hv", Box(32, 32, 64, 64), pixels)
    assert np.array_equal(store.read("maps/hv", Box(32, 32, 64, 64)), pixels)
    inner = store.read("maps/hv", Box(40, 33, 50, 60))
    assert np.array_equal(inner, pixels[:, 8:18, 1:28])


def test_what_was_not_written_is_fill(store):
    assert not store.read("maps/hv", Box(0, 0, 10, 10)).any()
    assert np.all(store.read("image", Box(0, 0, 10, 10)) == 255)


def test_what_was_written_and_is_gone_is_not_taken_for_empty(store):
    empty = np.zeros((2, 32, 32), np.int8)
    cores = [Box(32, 32, 64, 64)]
    store.write("maps/hv", cores[0], empty)
    assert not store.read("maps/hv", cores[0], written=cores).any()
    (store.root / "maps/hv/c/0/1/1").unlink()
    with pytest.raises(StoreDamaged, match="lost its chunk") as caught:
        store.read("maps/hv", cores[0], written=cores)
    assert caught.value.box == (32, 32, 64, 64)


def test_a_flipped_byte_is_noticed_and_named(store, rng):
    pixels = rng.integers(-127, 128, (2, 32, 32)).astype(np.int8)
    store.write("maps/hv", Box(0, 0, 32, 32), pixels)
    chunk = next(
        path for path in (store.root / "maps/hv/c").rglob("*") if path.is_file()
    )
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 0xFF
    chunk.write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"maps/hv .* can't be read"):
        store.read("maps/hv", Box(0, 0, 10, 10))


def test_a_truncated_chunk_is_noticed_and_named(store, rng):
    pixels = rng.integers(-127, 128, (2, 32, 32)).astype(np.int8)
    store.write("maps/hv", Box(0, 0, 32, 32), pixels)
    chunk = next(
        path for path in (store.root / "maps/hv/c").rglob("*") if path.is_file()
    )
    chunk.write_bytes(chunk.read_bytes()[:40])
    with pytest.raises(StoreDamaged, match=r"maps/hv .* can't be read"):
        store.read("maps/hv", Box(0, 0, 10, 10))


def test_a_missing_array_is_named(store):
    with pytest.raises(StoreDamaged, match=r"maps/prob .*is missing"):
        store.read("maps/prob", Box(0, 0, 4, 4))


def test_creating_again_starts_empty(store):
    store.write("maps/hv", Box(0, 0, 32, 32), np.ones((2, 32, 32), np.int8))
    store.create(ArraySpec(path="maps/hv", shape=(2, 90, 70), unit_px=32, dtype="int8"))
    assert not store.read("maps/hv", Box(0, 0, 90, 70)).any()


def test_dropping_an_image_takes_its_metadata_along(store):
    store.describe_image("slide", 0.5)
    store.describe_labels("labels/nuclei", 0.5)
    assert store.has("image")
    store.drop("image")
    store.forget_image()
    assert not store.has("image")


@hypothesis_settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    unit_px=st.integers(5, 40),
    limits=st.tuples(st.integers(1, 9), st.integers(9, 40)),
    order=st.randoms(use_true_random=False),
    damaged=st.booleans(),
)
def test_chunks_and_shards_of_any_shape_hold_the_same(
    shape, unit_px, limits, order, damaged
):
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint32).reshape(shape)
    grid = TileGrid(shape=shape, tile_px=unit_px)
    units = [grid.core(index) for index in range(len(grid))]
    order.shuffle(units)
    spec = ArraySpec(
        path="labels", shape=shape, unit_px=unit_px, dtype="uint32", is_label_map=True
    )
    with (
        patch.multiple(slide_store, MIN_CHUNK_PX=limits[0], MAX_CHUNK_PX=limits[1]),
        TemporaryDirectory() as folder,
    ):
        store = SlideStore(Path(folder))
        store.create(spec)
        for unit in units:
            store.write("labels", unit, pixels[unit.slices()])
        if damaged:
            for file in (store.root / "labels/c").rglob("[0-9]*"):
                if file.is_file():
                    file.write_bytes(file.read_bytes()[:-3])
            for unit in units:
                store.write("labels", unit, pixels[unit.slices()])
        found = store.read("labels", Box.of_shape(shape), written=units)
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize(
    ("unit_px", "chunk_px"),
    [(164, 164), (1024, 1024), (1100, 550), (2048, 1024), (4096, 1024), (1031, 1031)],
)
def test_large_write_units_are_shards_of_readable_chunks(tmp_path, unit_px, chunk_px):
    assert chunk_px_of(unit_px) == chunk_px
    store = SlideStore(tmp_path)
    store.create(
        ArraySpec(path="a", shape=(5000, 9000), unit_px=unit_px, dtype="uint32")
    )
    array = zarr.open_array(tmp_path / "a")
    assert array.chunks == (chunk_px, chunk_px)
    assert (array.shards or array.chunks) == (unit_px, unit_px)
