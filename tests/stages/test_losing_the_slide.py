"""A run that lost its slide to another writes nothing more to it."""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
from outcome import table_bytes

from segpipe.config import Settings
from segpipe.errors import OutputNotOurs, StoreDamaged
from segpipe.stages.events import BatchDone, StageDone, StageStarted
from segpipe.stages.repairing import revoking_damaged
from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout
from segpipe.stores.lease_files import newest
from segpipe.stores.ledger import Ledger

SETTINGS = Settings(keep=frozenset({"image", "maps"}), tile_px=256, report=False)
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
    for turn in ledger.folder.glob("turn-*"):
        shutil.rmtree(turn)
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


PAUSING = """
import os, signal, sys
from pathlib import Path
from segpipe.config import Settings, SlideRef
from segpipe.errors import OutputNotOurs
from segpipe.stages.slide import segment_slide
slide, settings = SlideRef.model_validate_json(sys.argv[1]), sys.argv[2]
replace = Path.replace

def run(where, out):
    def pausing(source, target):
        if where in f"{source} {target}":
            Path.replace = replace
            os.kill(os.getpid(), signal.SIGSTOP)
        return replace(source, target)

    Path.replace = pausing
    try:
        segment_slide(slide, out, Settings.model_validate_json(settings))
    except OutputNotOurs:
        return 3
    return 0

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os._exit(run(*line.split()))
    _, status = os.waitpid(pid, os.WUNTRACED)
    print("paused" if os.WIFSTOPPED(status) else "went by", flush=True)
    sys.stdin.readline()
    os.kill(pid, signal.SIGCONT)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Forks a run that stops right before it puts a certain file in place."""
PLACES = (
    "tiny.zarr/image/zarr.json",
    "tiny.zarr/image/c/",
    "tiny.zarr/maps/prob/c/",
    "scratch.zarr/tile_labels/c/",
    "instances/0000",
    "instances/blocks/",
    "tiny.zarr/labels/nuclei/0/c/",
    "parts/0000",
    "measure-",
    "part-0.parquet",
    "row.json",
    "scratch.zarr ",
    "done.json",
)
"""Of each stage, and of publishing, a file or folder; one is only removed."""


@pytest.fixture(scope="module")
def pausing(tiny):
    """Start runs that pause where they are told."""
    arguments = [tiny.model_dump_json(), SETTINGS.model_dump_json()]
    with subprocess.Popen(
        [sys.executable, "-c", PAUSING, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(line):
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        @contextmanager
        def paused(where, out):
            assert ask(f"{where} {out}") == "paused"
            ended = []
            yield lambda: ended.append(ask("go on")) or ended[0]
            if not ended:
                ask("go on")

        yield paused


@pytest.mark.parametrize("where", PLACES)
def test_a_run_that_was_paused_on_the_verge_of_writing_does_not_write(
    pausing, tiny, tmp_path, where
):
    """Another run, of another resolution, takes the slide and is done meanwhile."""
    ledger = Ledger(Layout(tmp_path.resolve()), "tiny")
    other = tiny.model_copy(update={"mpp": 0.35})
    with pausing(where, tmp_path) as go_on:
        lease = newest(ledger.folder)
        facts = json.loads(lease.path.read_text())
        lease.path.write_text(json.dumps(facts | {"is_released": True}))
        segment_slide(other, tmp_path, SETTINGS)
        before = contents(ledger)
        assert go_on() == "3"
    assert contents(ledger) == before
    segment_slide(other, tmp_path / "alone", SETTINGS)
    assert table_bytes(tmp_path, "tiny") == table_bytes(tmp_path / "alone", "tiny")
