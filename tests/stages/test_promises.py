"""The promises of the README, on a real piece of tissue with the shipped network."""

import itertools
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import zarr
from outcome import array, same, table_bytes

from segpipe import read_nuclei
from segpipe.config import Settings
from segpipe.errors import SlideNotFound
from segpipe.stages import measuring, nuclei_index
from segpipe.stages.events import BatchDone, StageDone, StageStarted
from segpipe.stages.slide import segment_slide
from segpipe.stitching.blocks import Blocks
from segpipe.stores import slide_store
from segpipe.stores.layout import Layout
from segpipe.tables import parquet

STAGES = ("tile", "predict", "label", "stitch", "measure")


class Recorder:
    """Keeps every event."""

    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append(event)

    def started(self):
        return [e.stage for e in self.events if isinstance(e, StageStarted)]


def test_a_run_finds_nuclei_and_says_how_many(undisturbed, crop, settings):
    row = segment_slide(crop, undisturbed, settings)
    nuclei = read_nuclei(undisturbed)
    assert row.n_nuclei == len(nuclei) > 100
    assert array(undisturbed, "labels/nuclei/0").max() == row.n_nuclei


@pytest.mark.parametrize(
    "tiling",
    [
        {"tile_px": 200, "halo_px": 0},
        {"tile_px": 1024, "halo_px": 200},
        {"tile_px": 387, "halo_px": 7},
    ],
)
def test_no_tiling_changes_a_byte(undisturbed, crop, settings, tmp_path, tiling):
    other = settings.model_copy(update=tiling)
    segment_slide(crop, tmp_path, other)
    assert same(undisturbed, tmp_path)


def test_shards_change_nothing_but_their_files(
    undisturbed, crop, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(slide_store, "MAX_CHUNK_PX", 64)
    monkeypatch.setattr(slide_store, "MIN_CHUNK_PX", 16)
    segment_slide(crop, tmp_path, settings.model_copy(update={"tile_px": 384}))
    labels = zarr.open_array(Layout(tmp_path).store("crop") / "labels/nuclei/0")
    assert labels.shards == (384, 384)
    assert same(undisturbed, tmp_path)


def test_how_much_is_held_at_a_time_changes_nothing(
    crop, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(measuring, "SORTED_ROWS", 37)
    monkeypatch.setattr(parquet, "PART_BATCH_ROWS", 5)
    monkeypatch.setattr(
        nuclei_index,
        "blocks_of",
        lambda plan: Blocks(
            tiles=plan.tiles, reach_px=plan.measure_margin_px, least_px=128
        ),
    )
    smaller = settings.model_copy(update={"tile_px": 128, "max_extent_um": 60.0})
    segment_slide(crop, tmp_path / "held", smaller)
    assert len(list((tmp_path / "held").rglob("blocks/*-ids.*"))) > 9
    monkeypatch.undo()
    segment_slide(crop, tmp_path / "whole", smaller)
    assert same(tmp_path / "whole", tmp_path / "held")


def test_no_order_of_batches_changes_a_byte(undisturbed, crop, settings, tmp_path):
    def backwards(function, items):
        return map(function, reversed(list(items)))

    segment_slide(crop, tmp_path, settings, map_=backwards)
    assert same(undisturbed, tmp_path)


def test_a_second_run_does_nothing(undisturbed, crop, settings):
    before = Layout(undisturbed).table("crop").stat().st_mtime_ns
    recorder = Recorder()
    segment_slide(crop, undisturbed, settings, listener=recorder)
    assert recorder.events == []
    assert Layout(undisturbed).table("crop").stat().st_mtime_ns == before


class Killed(BaseException):
    """What nothing catches."""


def killing_map(after):
    """A builtin map that dies after some batches, over all stages."""
    left = itertools.count(after, -1)

    def mapper(function, items):
        for item in items:
            if next(left) == 0:
                raise Killed
            yield function(item)

    return mapper


def test_a_run_killed_after_any_batch_goes_on_to_the_same_bytes(
    undisturbed, crop, settings, tmp_path
):
    deaths, finer = 0, settings.model_copy(update={"tile_px": 256})
    while True:
        try:
            recorder = Recorder()
            killer = killing_map(3 + deaths % 4)
            segment_slide(crop, tmp_path, finer, map_=killer, listener=recorder)
            break
        except Killed:
            deaths += 1
            assert not Layout(tmp_path).table("crop").exists()
    assert deaths >= 3
    assert same(undisturbed, tmp_path)


def test_no_finished_batch_is_done_twice(crop, settings, tmp_path):
    done = []
    for after in (2, 3, 4, 1000):
        recorder = Recorder()
        with suppress(Killed):
            segment_slide(
                crop, tmp_path, settings, map_=killing_map(after), listener=recorder
            )
        done += [
            (event.stage, unit)
            for event in recorder.events
            if isinstance(event, BatchDone)
            for unit in event.receipt.units
        ]
    assert len(done) == len(set(done))
    assert {stage for stage, _ in done} == set(STAGES)


def test_a_changed_setting_runs_only_what_depends_on_it(crop, settings, tmp_path):
    segment_slide(crop, tmp_path, settings)
    recorder = Recorder()
    larger = settings.model_copy(update={"min_area_um2": 40.0})
    segment_slide(crop, tmp_path, larger, listener=recorder)
    assert recorder.started() == ["stitch", "measure"]
    assert read_nuclei(tmp_path).area_um2.min() >= 40
    kept = [e.stage for e in recorder.events if isinstance(e, StageDone) and e.resumed]
    assert kept == ["tile", "predict", "label"]


def test_a_run_that_fails_leaves_no_table_of_other_settings(crop, settings, tmp_path):
    segment_slide(crop, tmp_path, settings)
    larger = settings.model_copy(update={"min_area_um2": 40.0})
    with pytest.raises(Killed):
        segment_slide(crop, tmp_path, larger, map_=killing_map(0))
    with pytest.raises(SlideNotFound):
        read_nuclei(tmp_path)
    segment_slide(crop, tmp_path, larger)
    assert read_nuclei(tmp_path).area_um2.min() >= 40


def test_what_is_less_probable_than_asked_is_left_out(crop, settings, tmp_path):
    segment_slide(crop, tmp_path, settings.model_copy(update={"min_prob": 0.0}))
    every = read_nuclei(tmp_path)
    surer = settings.model_copy(update={"min_prob": 0.9})
    segment_slide(crop, tmp_path, surer)
    nuclei = read_nuclei(tmp_path)
    assert 0 < len(nuclei) < len(every)
    for column in ("prob", "area_um2", "geometry"):
        wanted = every.loc[every.prob >= np.float32(0.9), column]
        assert nuclei[column].tolist() == wanted.tolist()


def test_what_is_not_kept_is_gone_and_the_result_stays(crop, undisturbed, tmp_path):
    segment_slide(crop, tmp_path, Settings(report=False))
    store = Layout(tmp_path).store("crop")
    assert sorted(path.name for path in store.iterdir()) == [
        "labels",
        "tissue",
        "zarr.json",
    ]
    assert not list(Layout(tmp_path).ledger("crop").glob("scratch*"))
    assert table_bytes(tmp_path) == table_bytes(undisturbed)


def test_every_row_is_a_nucleus_of_the_label_map(undisturbed):
    nuclei = read_nuclei(undisturbed)
    labels = array(undisturbed, "labels/nuclei/0")
    areas = np.bincount(labels.ravel())[1:]
    assert np.array_equal(nuclei.nucleus_id, np.arange(1, len(areas) + 1))
    assert np.allclose(nuclei.area_um2, areas * 0.2495**2)


def test_a_full_disk_is_named_and_the_next_run_goes_on(
    undisturbed, crop, settings, tmp_path
):
    """A child process that may write no large file stands for a full disk."""
    code = (
        "import resource, sys; from segpipe.stages.slide import segment_slide; "
        "from segpipe.config import Settings, SlideRef; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)); "
        f"segment_slide(SlideRef.model_validate_json({crop.model_dump_json()!r}), "
        f"{str(tmp_path)!r}, "
        f"Settings.model_validate_json({settings.model_dump_json()!r}))"
    )
    died = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert died.returncode == 1
    assert "DiskFull" in died.stderr.splitlines()[-1], died.stderr
    assert "run the same command again" in died.stderr
    assert not Layout(tmp_path).table("crop").exists()
    segment_slide(crop, tmp_path, settings)
    assert same(undisturbed, tmp_path)
