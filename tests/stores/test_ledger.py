"""The ledger tells the truth, whatever was cut off in the middle."""

import json
import multiprocessing

import pytest

from segpipe.errors import OutputNotOurs
from segpipe.stores.durable import replacing, write_text
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger, Receipt


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(Layout(tmp_path), "slide")
    ledger.open("label", "k1")
    return ledger


def receipt(*units):
    return Receipt(units=units, count=len(units) * 10, seconds=0.5)


def test_units_are_done_when_their_receipt_is_written(ledger):
    assert ledger.done_units("label", "k1") == frozenset()
    ledger.write("label", "k1", receipt(3, 4))
    ledger.write("label", "k1", receipt(9))
    assert ledger.done_units("label", "k1") == {3, 4, 9}


def test_a_truncated_receipt_counts_as_not_written(ledger):
    ledger.write("label", "k1", receipt(3, 4))
    ledger.write("label", "k1", receipt(9))
    path = next(ledger.folder.glob("label-k1/00000003-*.json"))
    path.write_text(path.read_text()[:-5])
    assert ledger.done_units("label", "k1") == {9}


def test_writing_a_receipt_twice_is_writing_it_once(ledger):
    ledger.write("label", "k1", receipt(3, 4))
    ledger.write("label", "k1", receipt(3, 4))
    assert ledger.receipts("label", "k1") == (receipt(3, 4),)


def test_another_key_drops_the_receipts_of_the_old_one(ledger):
    ledger.write("label", "k1", receipt(3))
    ledger.close("label", "k1", seconds=2.0)
    ledger.open("label", "k2")
    assert not ledger.is_closed("label", "k1")
    assert ledger.done_units("label", "k2") == frozenset()


def test_a_closed_stage_says_what_it_came_to(ledger):
    ledger.write("label", "k1", receipt(3, 4))
    ledger.write("label", "k1", receipt(5))
    ledger.close("label", "k1", seconds=2.5)
    assert ledger.is_closed("label", "k1")
    assert ledger.seconds("label", "k1") == 2.5
    manifest = json.loads((ledger.folder / "label-k1" / "closed.json").read_text())
    assert (manifest["n_units"], manifest["count"]) == (3, 30)


def test_what_is_forgotten_is_not_closed(ledger):
    ledger.close("label", "k1", seconds=1.0)
    ledger.forget("label")
    assert not ledger.is_closed("label", "k1")


def _hold(out, held, release):
    with Ledger(Layout(out), "slide").held():
        held.set()
        release.wait(20)


def test_a_slide_has_one_holder_and_is_free_when_it_dies(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, release))
    other.start()
    try:
        assert held.wait(20)
        with (
            pytest.raises(OutputNotOurs, match="another run"),
            Ledger(Layout(tmp_path), "slide").held(),
        ):
            pass
    finally:
        other.kill()
        other.join()
    with Ledger(Layout(tmp_path), "slide").held():
        pass


def _fail_half_written(path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        _fail_half_written(path)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
