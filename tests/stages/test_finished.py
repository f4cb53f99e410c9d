"""What is finished is told by a look; whatever may matter makes a run look closer."""

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segpipe.config import Settings, SlideRef
from segpipe.errors import SlideChanged, SlideCorrupt
from segpipe.networks import weights_file
from segpipe.stages.catalog import write_catalog
from segpipe.stages.finished import (
    Asked,
    done_path,
    finished_row,
    passed_over,
    read_done,
)
from segpipe.stages.grounds import still_hold
from segpipe.stages.known import KnownSlides
from segpipe.stages.plan import Grounds
from segpipe.stages.planning import plan_slide
from segpipe.stages.publishing import publish
from segpipe.stages.quarantine import Quarantine
from segpipe.stages.slide import held, segment_slide
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
from segpipe.tables.slides import read_slides


@pytest.fixture
def slide(tmp_path, crop):
    return SlideRef(id="crop", path=shutil.copy(crop.path, tmp_path / "crop.tiff"))


@pytest.fixture
def layout(tmp_path, slide, undisturbed, settings):
    """A finished slide that may be spoiled, and that was looked at where it is."""
    layout = Layout(shutil.copytree(undisturbed, tmp_path / "out"))
    assert finished_row(slide, Asked.of(settings, layout)) is not None
    return layout


def is_finished(slide, layout, settings, **changed):
    chosen = Settings(**settings.model_dump() | changed)
    return finished_row(slide, Asked.of(chosen, layout)) is not None


def change_same_size(path):
    """Change a byte and set the clock of the file back."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_finished_slide_is_finished_and_the_look_changes_nothing(
    slide, layout, settings
):
    files = {path: path.stat().st_mtime_ns for path in layout.out.rglob("*")}
    assert is_finished(slide, layout, settings)
    assert {path: path.stat().st_mtime_ns for path in layout.out.rglob("*")} == files


def test_a_slide_that_is_moved_or_touched_is_finished_where_it_is_now(
    tmp_path, slide, layout, settings
):
    moved = slide.model_copy(update={"path": tmp_path / "elsewhere.tiff"})
    slide.path.rename(moved.path)
    row = finished_row(moved, Asked.of(settings, layout))
    assert row is not None
    assert row.path == str(moved.path)
    before = read_done(Ledger(layout, "crop")).grounds
    os.utime(moved.path)
    assert is_finished(moved, layout, settings)
    after = read_done(Ledger(layout, "crop")).grounds
    assert after.signature != before.signature
    assert after.content == before.content


def test_a_slide_that_changed_is_not_finished(slide, layout, settings):
    change_same_size(slide.path)
    assert not is_finished(slide, layout, settings)


def test_a_slide_that_is_gone_is_not_finished(slide, layout, settings):
    slide.path.unlink()
    assert not is_finished(slide, layout, settings)


@pytest.mark.parametrize(
    "changed",
    [
        {"min_area_um2": 9.0},
        {"max_extent_um": 90.0},
        {"min_prob": 0.9},
        {"mpp": 0.5},
        {"keep": ["maps"]},
        {"report": True},  # which isn't there
    ],
    ids=repr,
)
def test_settings_that_may_matter_make_it_look_closer(slide, layout, settings, changed):
    assert not is_finished(slide, layout, settings, **changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"tile_px": 256},
        {"halo_px": 64},
        {"workers": 2},
        {"max_quarantined": "3"},
        {"device": "cpu"},
    ],
    ids=repr,
)
def test_settings_that_change_no_result_do_not(slide, layout, settings, changed):
    assert is_finished(slide, layout, settings, **changed)


def test_a_label_map_that_is_gone_is_made_again(slide, layout, settings):
    labels = layout.store("crop") / "labels"
    shutil.rmtree(labels)
    assert not is_finished(slide, layout, settings)
    segment_slide(slide, layout.out, settings)
    assert labels.exists()
    assert is_finished(slide, layout, settings)


def test_a_report_that_is_asked_for_later_is_all_that_is_made(slide, layout, settings):
    events = []
    with_report = settings.model_copy(update={"report": True})
    segment_slide(slide, layout.out, with_report, listener=events.append)
    assert events == []
    assert layout.report("crop").exists()
    assert layout.overlay("crop").exists()
    assert is_finished(slide, layout, with_report)


def test_what_is_known_of_a_slide_counts_too(tmp_path, slide, layout, settings):
    mask = tmp_path / "mask.png"
    Image.fromarray(np.ones((64, 62), np.uint8)).save(mask)
    assert not is_finished(slide.model_copy(update={"mpp": 0.4}), layout, settings)
    masked = slide.model_copy(update={"tissue_mask": mask})
    assert not is_finished(masked, layout, settings)


def test_weights_count_by_what_their_card_says_and_not_by_their_place(
    tmp_path, slide, layout, settings
):
    shipped = weights_file("hoverlite")
    own = shutil.copy(shipped, tmp_path / "own.safetensors")
    card = shipped.with_suffix(".toml").read_text()
    own.with_suffix(".toml").write_text(card)
    assert is_finished(slide, layout, settings, weights=own)
    own.with_suffix(".toml").write_text(card.replace('sha256 = "', 'sha256 = "0'))
    assert not is_finished(slide, layout, settings, weights=own)


@pytest.mark.parametrize("lost", ["table", "maps", "done", "row"])
def test_what_is_lost_is_missed(slide, layout, settings, lost):
    ledger = Ledger(layout, "crop")
    path = {
        "table": layout.table("crop"),
        "maps": layout.store("crop") / "maps",
        "done": done_path(ledger),
        "row": ledger.row_path,
    }[lost]
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not is_finished(slide, layout, settings)


@pytest.mark.parametrize("name", ["done.json", "row.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", b"[1]"])
def test_a_damaged_record_counts_as_none(slide, layout, settings, name, content):
    (layout.ledger("crop") / name).write_bytes(content)
    assert not is_finished(slide, layout, settings)


def test_planning_decides_where_a_look_cannot(slide, layout, settings):
    done_path(Ledger(layout, "crop")).unlink()
    table = layout.table("crop").stat()
    segment_slide(slide, layout.out, settings)
    assert layout.table("crop").stat() == table
    assert is_finished(slide, layout, settings)


def test_a_slide_with_a_damaged_row_is_done_anew(slide, layout, settings):
    ledger, table = Ledger(layout, "crop"), layout.table("crop").read_bytes()
    ledger.row_path.write_text("{")
    segment_slide(slide, layout.out, settings)
    assert layout.table("crop").read_bytes() == table
    assert is_finished(slide, layout, settings)


def test_a_slide_that_is_replaced_meanwhile_is_not_published(slide, layout, settings):
    plan = plan_slide(slide, settings, layout.out)
    change_same_size(slide.path)
    with held(plan), pytest.raises(SlideChanged, match="replaced or changed"):
        publish(plan)


def test_a_fingerprint_is_remembered_of_files_that_look_the_same(
    slide, layout, settings
):
    fingerprint = KnownSlides(asked=Asked.of(settings, layout)).fingerprint
    known = fingerprint(slide.path)
    assert known == plan_slide(slide, settings, layout.out).fingerprint
    change_same_size(slide.path)
    assert fingerprint(slide.path) != known


FEW = st.sampled_from(["", "a", "b"])
GROUNDS = st.builds(Grounds, path=FEW, signature=FEW, content=FEW, choices=FEW)


@given(GROUNDS, GROUNDS)
def test_grounds_hold_by_choices_and_looks_or_else_by_content(recorded, now):
    held = still_hold(recorded, now)
    if recorded.choices != now.choices:
        assert held is False
    elif (recorded.path, recorded.signature) == (now.path, now.signature):
        assert held is True
    else:
        assert held is (None if recorded.content else False)


class TestQuarantine:
    @pytest.fixture
    def broken(self, tmp_path):
        path = tmp_path / "broken.svs"
        path.write_bytes(b"no slide at all")
        return SlideRef(id="broken", path=path)

    @pytest.fixture
    def out(self, tmp_path, broken, settings):
        """A folder in which the slide is quarantined, by what it looked like."""
        layout = Layout(tmp_path / "out")
        asked = Asked.of(settings, layout)
        grounds = asked.grounds(broken, of_work=True)
        error = SlideCorrupt("no slide")
        Quarantine.of(broken, error, stage="plan", grounds=grounds).write(layout)
        return layout

    def test_it_is_passed_over_while_nothing_changes(self, broken, out, settings):
        record = passed_over(broken, Asked.of(settings, out))
        assert (record.error, record.reason) == ("SlideCorrupt", "no slide")

    def test_it_is_tried_again_when_it_changed(self, broken, out, settings):
        change_same_size(broken.path)
        assert passed_over(broken, Asked.of(settings, out)) is None

    @pytest.mark.parametrize("changed", [{"mpp": 0.5}, {"tile_px": 128}], ids=repr)
    def test_it_is_tried_again_with_any_other_settings(
        self, broken, out, settings, changed
    ):
        chosen = settings.model_copy(update=changed)
        assert passed_over(broken, Asked.of(chosen, out)) is None

    def test_one_that_rests_on_nothing_known_is_tried_again(
        self, broken, out, settings
    ):
        path = out.quarantine("broken")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"grounds": None}))
        assert passed_over(broken, Asked.of(settings, out)) is None
        path.write_text("{")
        assert passed_over(broken, Asked.of(settings, out)) is None


class TestCatalog:
    @pytest.fixture
    def stat_of_table(self, layout):
        def look():
            write_catalog(layout)
            return layout.slides.stat()

        return look

    def test_it_is_left_alone_while_nothing_changes(self, stat_of_table):
        assert stat_of_table() == stat_of_table()

    def test_it_is_written_anew_when_a_row_or_it_itself_changes(
        self, layout, stat_of_table
    ):
        before = stat_of_table()
        row = Ledger(layout, "crop").row_path
        row.write_text(row.read_text() + " ")
        after = stat_of_table()
        assert after != before
        layout.slides.write_bytes(b"spoiled")
        assert stat_of_table() != after
        assert [row.slide_id for row in read_slides(layout.slides)] == ["crop"]

    def test_a_record_that_cannot_be_read_is_said_to_be_so(self, layout, stat_of_table):
        layout.quarantine("bad").parent.mkdir()
        layout.quarantine("bad").write_text("{")
        layout.ledger("other").mkdir()
        Ledger(layout, "other").row_path.write_text("{")
        stat_of_table()
        rows = {row.slide_id: row for row in read_slides(layout.slides)}
        assert set(rows) == {"bad", "crop"}
        assert "can't be read" in rows["bad"].reason
