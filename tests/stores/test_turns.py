"""What is written and removed in a turn is so only while the turn is there."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from segpipe.errors import OutputNotOurs, OutputNotWritable
from segpipe.geometry import Box
from segpipe.stages.outputs import prepare_out
from segpipe.stores import leases
from segpipe.stores.durable import (
    current_turn,
    remove,
    renaming_through,
    replacing,
    write_text,
)
from segpipe.stores.layout import Layout
from segpipe.stores.leases import LeaseTiming
from segpipe.stores.ledger import Ledger
from segpipe.stores.slide_store import ArraySpec, SlideStore

QUICK = LeaseTiming(renew_s=0.05, dead_s=0.3, poll_s=0.05)
CORE = Box(0, 0, 32, 32)
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a second file system


@pytest.fixture
def turn(tmp_path):
    turn = tmp_path / "turn-00000001-0a"
    turn.mkdir()
    with renaming_through(turn):
        yield turn


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Layout(tmp_path), "slide")


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def turns(ledger):
    return [path.name for path in ledger.folder.glob("*turn-*")]


def test_a_file_gets_to_its_place_and_leaves_nothing(turn, tmp_path):
    with replacing(tmp_path / "a" / "file") as temporary:
        temporary.write_text("new")
        assert temporary.parent == turn
    assert (tmp_path / "a" / "file").read_text() == "new"
    assert names_in(tmp_path / "a") == ["file"]
    remove(tmp_path / "a")
    remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert names_in(turn) == []


def test_without_its_turn_nothing_is_replaced_or_removed(turn, tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")

    def overtaken():
        with replacing(path) as temporary:
            temporary.write_text("new")
            shutil.rmtree(turn)

    for late in (overtaken, lambda: write_text(path, "new"), lambda: remove(path)):
        with pytest.raises(FileNotFoundError):
            late()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file"]


def test_no_chunk_of_an_array_that_was_opened_before_is_replaced(turn, tmp_path):
    store = SlideStore(tmp_path / "slide.zarr")
    for path, unit_px in (("chunked", 32), ("sharded", 2048)):
        shape = (max(64, unit_px), 64)
        store.create(ArraySpec(path=path, shape=shape, unit_px=unit_px, dtype="uint8"))
        core = Box(0, 0, unit_px, min(unit_px, 64))
        store.write(path, core, np.ones(core.shape, np.uint8))
    array = store._open("chunked")
    shutil.rmtree(turn)
    with pytest.raises(FileNotFoundError):
        array[CORE.slices()] = 2
    for path, core in (("chunked", CORE), ("sharded", Box(0, 0, 2048, 64))):
        with pytest.raises(FileNotFoundError):
            store.write(path, core, np.full(core.shape, 2, np.uint8))
        with pytest.raises(FileNotFoundError):
            store.drop(path)
        assert np.all(store.read(path, core, written=[core]) == 1)


def test_threads_write_through_the_turn_they_were_given_alone(turn):
    found = []
    thread = threading.Thread(target=lambda: found.append(current_turn()))
    thread.start()
    thread.join()
    assert found == [None]
    assert current_turn() == turn


def test_who_takes_a_slide_removes_the_turns_before_and_leaves_none(ledger):
    ledger.folder.mkdir(parents=True)
    first = leases.take(ledger.folder, QUICK)
    assert turns(ledger) == [first.turn.name]
    first.path.write_text(first.path.read_text().replace("false", "true "))
    with ledger.held(QUICK) as hold:
        assert turns(ledger) == [hold.turn.name]
        with pytest.raises(OutputNotOurs, match="took it over"), first.writing():
            write_text(ledger.plan_path, "first")
        with hold.writing():
            write_text(ledger.plan_path, "second")
    assert turns(ledger) == []
    assert ledger.plan_path.read_text() == "second"


def test_an_error_of_who_still_holds_the_slide_stays_what_it_is(ledger):
    with (
        ledger.held(QUICK) as hold,
        pytest.raises(FileNotFoundError, match="mine"),
        hold.writing(),
    ):
        (ledger.folder / "mine").read_text()


def test_what_a_killed_process_left_half_written_goes_with_its_turn(tmp_path, ledger):
    code = f"""
import os
from pathlib import Path
from segpipe.stores.durable import replacing
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger
with Ledger(Layout(Path({str(tmp_path)!r})), "slide").held() as hold, hold.writing():
    with replacing(Path({str(tmp_path)!r}, "file")) as temporary:
        temporary.write_text("half")
        os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    (left,) = ledger.folder.glob("turn-*/*")
    assert left.read_text() == "half"
    with ledger.held(QUICK):
        assert not left.exists()
    assert turns(ledger) == []


def test_a_result_folder_on_two_disks_is_refused(tmp_path):
    if not os.access(SHARED_MEMORY, os.W_OK):
        pytest.skip("no second file system")
    layout = prepare_out(tmp_path / "out")
    beside = Layout(layout.out).store("a").parent
    elsewhere = Path(tempfile.mkdtemp(dir=SHARED_MEMORY))
    beside.symlink_to(elsewhere)
    try:
        if elsewhere.stat().st_dev == layout.out.stat().st_dev:
            pytest.skip("no second file system")
        with pytest.raises(OutputNotWritable, match="must be on one"):
            prepare_out(layout.out)
    finally:
        shutil.rmtree(elsewhere)
