"""A store gives back what was written, and says so when it can't."""

import numpy as np
import pytest

from segpipe.errors import StoreDamaged
from segpipe.geometry import Box
from segpipe.stores.slide_store import ArraySpec, SlideStore


@pytest.fixture
def store(tmp_path):
    store = SlideStore(tmp_path / "slide.zarr")
    store.create(
        ArraySpec(path="maps/hv", shape=(2, 90, 70), chunk_px=32, dtype="int8")
    )
    store.create(
        ArraySpec(path="image", shape=(3, 90, 70), chunk_px=32, dtype="uint8", fill=255)
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


def test_a_box_beyond_the_array_is_mirrored(store, rng):
    whole = rng.integers(0, 255, (3, 90, 70)).astype(np.uint8)
    store.write("image", Box(0, 0, 90, 70), whole)
    read = store.read_mirrored("image", Box(-4, 40, 20, 90))
    wanted = np.pad(whole, [(0, 0), (4, 0), (0, 20)], mode="symmetric")[:, :24, 40:]
    assert np.array_equal(read, wanted)
    inner = store.read_mirrored("image", Box(3, 4, 50, 60))
    assert np.array_equal(inner, whole[:, 3:50, 4:60])


def test_an_array_smaller_than_its_margin_is_mirrored_again_and_again(store, rng):
    whole = rng.integers(0, 255, (3, 90, 70)).astype(np.uint8)
    store.write("image", Box(0, 0, 90, 70), whole)
    read = store.read_mirrored("image", Box(-64, -64, 576, 576))
    assert read.shape == (3, 640, 640)
    assert np.array_equal(read[:, 64:154, 64:134], whole)


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
    with pytest.raises(StoreDamaged, match="maps/prob is missing"):
        store.read("maps/prob", Box(0, 0, 4, 4))


def test_creating_again_starts_empty(store):
    store.write("maps/hv", Box(0, 0, 32, 32), np.ones((2, 32, 32), np.int8))
    store.create(
        ArraySpec(path="maps/hv", shape=(2, 90, 70), chunk_px=32, dtype="int8")
    )
    assert not store.read("maps/hv", Box(0, 0, 90, 70)).any()


def test_dropping_an_image_takes_its_metadata_along(store):
    store.describe_image("slide", 0.5)
    store.describe_labels("labels/nuclei", 0.5)
    assert store.has("image")
    store.drop("image")
    store.forget_image()
    assert not store.has("image")
