"""What compressed bytes declare is read as their decoders will read it."""

import io

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segpipe.slides._declared import (
    MAX_SCANS,
    declared_shape,
    refuse_inflating,
    refuse_many_scans,
    refuse_more_than,
)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PICTURES = {
    "jpeg": imagecodecs.jpeg8_encode,
    "jpeg2000": lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k"),
    "jp2": lambda a: imagecodecs.jpeg2k_encode(a, codecformat="jp2"),
    "webp": imagecodecs.webp_encode,
    "webp lossless": lambda a: imagecodecs.webp_encode(a, lossless=True),
    "webp alpha": lambda a: imagecodecs.webp_encode(np.dstack([a, a[..., 0]])),
    "jpegxl": lambda a: imagecodecs.jpegxl_encode(a, effort=1),
    "png": png,
}
BYTES = {
    "zstd": imagecodecs.zstd_encode,
    "gzip": imagecodecs.gzip_encode,
    "zlib": imagecodecs.zlib_encode,
    "blosc": imagecodecs.blosc_encode,
}


def noise(height, width):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


@settings(max_examples=10)
@pytest.mark.parametrize("name", PICTURES)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_the_size_is_that_of_the_picture(name, height, width):
    assert declared_shape(PICTURES[name](noise(height, width))) == (height, width)


@pytest.mark.parametrize("side", [256, 240])
def test_sizes_that_jpeg_xl_writes_short_are_read_too(side):
    for height, width in [(side, side), (side, side * 2), (side * 3, side * 4)]:
        stored = imagecodecs.jpegxl_encode(noise(height, width), effort=1)
        assert declared_shape(stored) == (height, width)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_fits_its_place_and_no_smaller(name):
    stored = PICTURES[name](noise(64, 96))
    refuse_more_than((64, 96), stored)
    with pytest.raises(ValueError, match="64 x 96 pixels where 32 x 48 are"):
        refuse_more_than((32, 48), stored)


@given(stored=st.binary(max_size=200), name=st.sampled_from(sorted(PICTURES)))
def test_no_bytes_are_misread_with_another_error(stored, name):
    head = PICTURES[name](noise(8, 8))[:12]
    for content in (stored, head + stored):
        try:
            declared_shape(content)
        except ValueError as error:
            assert "channels" in str(error)  # noqa: PT017 - most raise nothing


def test_a_jpeg_of_many_scans_is_refused():
    stored = imagecodecs.jpeg8_encode(noise(8, 8))
    refuse_many_scans(stored)
    with pytest.raises(ValueError, match="scans"):
        refuse_many_scans(stored + b"\xff\xda" * MAX_SCANS)


@pytest.mark.parametrize("codec", BYTES)
def test_bytes_unpack_to_their_place_and_no_smaller(codec):
    stored = BYTES[codec](bytes(100_000))
    refuse_inflating(stored, codec, 100_000)
    with pytest.raises(ValueError, match="99999 are the most"):
        refuse_inflating(stored, codec, 99_999)
