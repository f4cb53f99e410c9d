"""What every reader promises. Readers are discovered, so a new one is tested too."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slide_samples import SAMPLES, Sample, cut

from segpipe.errors import SlideCorrupt, SlideError
from segpipe.geometry import Box
from segpipe.slides import Slide, find_slides, open_slide, reader_of, readers

NAMES = [reader.name for reader in readers()]
BY_NAME = {reader.name: reader for reader in readers()}


@pytest.fixture(scope="module", params=NAMES)
def reader_name(request):
    return request.param


@pytest.fixture(scope="module")
def sample(reader_name, tmp_path_factory) -> Sample:
    return SAMPLES[reader_name](tmp_path_factory.mktemp(reader_name))


@pytest.fixture
def slide(sample):
    with open_slide(sample.path) as opened:
        yield opened


def whole(slide: Slide, level: int):
    return slide.read(Box.of_shape(slide.levels[level].shape), level)


def read_all(path: Path) -> None:
    with open_slide(path) as slide:
        for level in range(len(slide.levels)):
            whole(slide, level)


def test_every_reader_has_a_sample():
    assert set(SAMPLES) == set(NAMES)


def test_readers_have_unique_names_and_are_named_like_their_modules():
    assert len(set(NAMES)) == len(NAMES)
    for reader in readers():
        assert reader.claims.__module__ == f"segpipe.slides.{reader.name}"


def test_the_reader_recognises_its_format(sample, reader_name):
    assert reader_of(sample.path).name == reader_name


def test_no_other_format_is_claimed_by_an_earlier_reader(sample, reader_name, tmp_path):
    reader = BY_NAME[reader_name]
    earlier = [
        r for r in readers() if (r.priority, r.name) < (reader.priority, reader.name)
    ]
    assert not any(r.claims(sample.path) for r in earlier)
    text = tmp_path / "text"
    text.write_text("nothing of a slide")
    assert not reader.claims(text)
    assert not reader.claims(tmp_path)


def test_a_folder_search_finds_the_slide_once(sample):
    assert sample.path in find_slides(sample.path.parent)
    assert len(find_slides(sample.path.parent)) == 1


def test_levels_are_those_written_fine_to_coarse(slide, sample):
    assert [level.shape for level in slide.levels] == [
        level.shape[:2] for level in sample.levels
    ]
    assert [level.downsample for level in slide.levels] == [
        2.0**i for i in range(len(sample.levels))
    ]


def test_pixels_are_those_written(slide, sample):
    for level, expected in enumerate(sample.levels):
        np.testing.assert_array_equal(whole(slide, level), expected)


def test_mpp_is_the_one_written(slide, sample):
    assert slide.mpp == pytest.approx(sample.mpp, rel=1e-4)


def test_path_and_format_are_told(slide, sample):
    assert slide.path == sample.path
    assert slide.properties["format"]
    assert all(isinstance(word, str) for word in slide.properties.values())


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.data())
def test_any_box_is_the_crop_of_the_whole_on_white(slide, sample, drawn):
    level = drawn.draw(st.integers(0, len(sample.levels) - 1))
    expected = sample.levels[level]
    height, width = expected.shape[:2]
    y0 = drawn.draw(st.integers(-90, height + 20))
    x0 = drawn.draw(st.integers(-90, width + 20))
    box = Box(
        y0,
        x0,
        y0 + drawn.draw(st.integers(0, 140)),
        x0 + drawn.draw(st.integers(0, 140)),
    )
    margin = 250
    canvas = np.pad(
        expected, ((margin, margin), (margin, margin), (0, 0)), constant_values=255
    )
    pixels = slide.read(box, level)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, canvas[box.shifted(margin, margin).slices()])


def test_far_outside_is_white(slide):
    far = slide.read(Box(10**6, -(10**6), 10**6 + 3, 5 - 10**6), 0)
    assert far.shape == (3, 5, 3)
    assert (far == 255).all()


def test_what_is_read_belongs_to_the_caller(slide):
    before = whole(slide, 0)
    assert before.flags.c_contiguous
    read = whole(slide, 0)
    read[:] = 7
    np.testing.assert_array_equal(whole(slide, 0), before)


def test_a_level_that_is_not_there_is_refused(slide):
    for level in (-1, len(slide.levels)):
        with pytest.raises(ValueError, match=f"level {level} was asked"):
            slide.read(Box(0, 0, 1, 1), level)


def test_closing_twice_does_no_harm_and_reading_afterwards_is_refused(sample):
    slide = open_slide(sample.path)
    slide.close()
    slide.close()
    with pytest.raises(ValueError, match="was closed"):
        slide.read(Box(0, 0, 1, 1), 0)


def test_two_open_slides_do_not_disturb_each_other(sample):
    with open_slide(sample.path) as one, open_slide(sample.path) as other:
        one.read(Box(0, 0, 8, 8), 0)
        one.close()
        np.testing.assert_array_equal(whole(other, 0), sample.levels[0])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_slide_that_was_cut_off_is_never_read_as_if_whole(
    reader_name, tmp_path, share
):
    damaged = SAMPLES[reader_name](tmp_path)
    cut(damaged.path, share)
    with pytest.raises(SlideCorrupt, match=str(damaged.path)):
        read_all(damaged.path)


def test_a_slide_that_vanishes_is_reported(reader_name, tmp_path):
    gone = tmp_path / "gone"
    with pytest.raises(SlideError, match="gone"):
        BY_NAME[reader_name].open(gone)


def test_the_path_may_be_text(sample):
    with open_slide(str(sample.path)) as slide:
        assert slide.path == Path(sample.path)
