"""A slide that is replaced while it is worked on is named, and never mixed in."""

import os
import shutil

import pytest
from outcome import same
from small_slides import write_slide

from segpipe.config import SlideRef
from segpipe.errors import SlideChanged
from segpipe.stages.events import StageDone
from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout


@pytest.fixture
def replaceable(crop, crop_rgb, tmp_path):
    """A copy of the slide, another one, and what puts either in its place."""
    path = tmp_path / "slides" / "crop.tiff"
    path.parent.mkdir()
    other = write_slide(tmp_path / "other.tiff", crop_rgb[::-1])

    def put(source):
        shutil.copyfile(source, tmp_path / "coming")
        os.replace(tmp_path / "coming", path)  # noqa: PTH105

    put(crop.path)
    return SlideRef(id=crop.id, path=path), lambda: put(crop.path), lambda: put(other)


def test_a_slide_replaced_while_it_is_read_leaves_no_receipt(
    replaceable, settings, undisturbed, tmp_path
):
    slide, put_back, replace = replaceable

    def replacing(function, items):
        for item in items:
            replace()
            yield function(item)

    out = tmp_path / "out"
    with pytest.raises(SlideChanged, match="Run again when it is copied"):
        segment_slide(slide, out, settings, map_=replacing)
    assert not list(Layout(out).ledger(slide.id).glob("tile-*/*.json"))
    put_back()
    segment_slide(slide, out, settings)
    assert same(out, undisturbed)


def test_a_slide_replaced_after_it_was_read_is_not_published(
    replaceable, settings, undisturbed, tmp_path
):
    slide, put_back, replace = replaceable

    def listener(event):
        if isinstance(event, StageDone) and event.stage == "tile":
            replace()

    out = tmp_path / "out"
    with pytest.raises(SlideChanged):
        segment_slide(slide, out, settings, listener=listener)
    assert not (Layout(out).ledger(slide.id) / "row.json").exists()
    put_back()
    segment_slide(slide, out, settings)
    assert same(out, undisturbed)


def test_clocks_that_jump_change_nothing(crop, settings, undisturbed, tmp_path):
    """Files of an interrupted run from before this epoch and from after this era."""

    class Interrupted(BaseException):
        pass

    def interrupted(function, items):
        for at, item in enumerate(items):
            if at == 2:
                raise Interrupted
            yield function(item)

    times = iter((0.0, 2.0**33, 1.0, 2.0**32))
    for _ in range(3):
        try:
            segment_slide(crop, tmp_path, settings, map_=interrupted)
            break
        except Interrupted:
            for path in tmp_path.rglob("*"):
                os.utime(path, (0, next(times, 5.0)))
    segment_slide(crop, tmp_path, settings)
    assert same(tmp_path, undisturbed)
