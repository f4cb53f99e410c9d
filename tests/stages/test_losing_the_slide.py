"""A run that lost its slide to another writes nothing more to it."""

import json

import pytest
from outcome import table_bytes

from segpipe.config import Settings
from segpipe.errors import OutputNotOurs, StoreDamaged
from segpipe.stages.events import BatchDone, StageDone, StageStarted
from segpipe.stages.repairing import revoking_damaged
from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout
from segpipe.stores.leases import newest
from segpipe.stores.ledger import Ledger

SETTINGS = Settings(keep=frozenset({"image", "maps"}), tile_px=128, report=False)
LOSSES = [
    (StageStarted, "predict"),
    (BatchDone, "label"),
    (StageDone, "label"),
    (StageDone, "measure"),
]
"""After which event, the first of its kind, another run takes the slide."""


def take_over(ledger):
    """Take the slide as a run on another host does; return what it gets to see."""
    lease = newest(ledger.folder)
    text = lease.path.read_text().replace('"host": "', '"host": "not-')
    successor = lease.path.with_name(f"lease-{lease.number + 1:08d}.json")
    successor.write_text(text.replace(lease.token, "0" * len(lease.token)))
    lease.path.unlink()
    return contents(ledger)


def contents(ledger):
    """Return every file of the result folder, with its content."""
    out = ledger.layout.out
    return {
        path.relative_to(out): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(("kind", "stage"), LOSSES)
def test_it_stops_with_a_named_error_and_writes_nothing_more(
    tiny, tmp_path, kind, stage
):
    ledger, seen = Ledger(Layout(tmp_path.resolve()), "tiny"), []

    def listener(event):
        if isinstance(event, kind) and event.stage == stage and not seen:
            seen.append(take_over(ledger))

    with pytest.raises(OutputNotOurs, match=r"not-.* took it over"):
        segment_slide(tiny, tmp_path, SETTINGS, listener=listener)
    assert contents(ledger) == seen[0]
    assert not Layout(tmp_path).table("tiny").exists() or stage == "measure"
    assert not ledger.row_path.exists()


def test_who_comes_after_goes_on_from_what_it_finished(tiny, tmp_path):
    ledger = Ledger(Layout(tmp_path.resolve()), "tiny")

    def listener(event):
        if isinstance(event, BatchDone) and event.stage == "label":
            take_over(ledger)

    with pytest.raises(OutputNotOurs):
        segment_slide(tiny, tmp_path, SETTINGS, listener=listener)
    lease = newest(ledger.folder)
    facts = json.loads(lease.path.read_text())
    lease.path.write_text(json.dumps(facts | {"is_released": True}))
    again = []
    segment_slide(tiny, tmp_path, SETTINGS, listener=again.append)
    resumed = {event.stage: event.n_done for event in again if hasattr(event, "n_done")}
    assert resumed["label"] == 2
    segment_slide(tiny, tmp_path / "alone", SETTINGS)
    assert table_bytes(tmp_path, "tiny") == table_bytes(tmp_path / "alone", "tiny")


def test_it_does_not_take_receipts_back_for_what_the_other_replaced(tmp_path):
    ledger = Ledger(Layout(tmp_path.resolve()), "tiny")

    def meet_damage(hold):
        with revoking_damaged(None, hold):
            message = "Array maps/prob is missing."
            raise StoreDamaged(message, array="maps/prob")

    with ledger.held() as hold:
        take_over(ledger)
        with pytest.raises(OutputNotOurs):
            meet_damage(hold)
