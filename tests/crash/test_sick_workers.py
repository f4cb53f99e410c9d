"""A worker that stands still loses its batches to others; one that swells is named."""

import os
import signal
import time
from contextlib import suppress
from functools import partial

import pytest

from segpipe.config import Settings
from segpipe.errors import StageFailed
from segpipe.stages._stage import batches
from tasks.clusters import provided
from tasks.mapping import connected, dask_map
from tasks.providers import local

BATCHES = list(batches(range(24), 2))


def noted(folder, units):
    """Leave a file named by unit and process, after a while."""
    (folder / f"{units[0]}-{os.getpid()}").touch()
    time.sleep(0.4)
    return units


def swelling(units):
    """Take ever more memory in one unit."""
    held = []
    while 13 in units:
        held.append(bytearray(os.urandom(2**20)) * 64)
        time.sleep(0.1)
    return units


@pytest.fixture
def two_workers(monkeypatch):
    """Two workers, of a GiB each, who may be silent for ten seconds."""
    ttl = {"distributed.scheduler.worker-ttl": "10s"}
    monkeypatch.setattr(local, "DASK_SETTINGS", local.DASK_SETTINGS | ttl)
    monkeypatch.setattr(local, "_memory_bytes", lambda _: 2**30)
    with provided(Settings(workers=2, device="cpu")) as cluster:
        yield cluster


@pytest.mark.timeout(600)
def test_the_batches_of_a_stopped_worker_are_done_by_the_other(two_workers, tmp_path):
    found = []
    with connected(two_workers) as client, dask_map(two_workers) as map_:
        pids = list(client.run(os.getpid).values())
        for units in map_(partial(noted, tmp_path), BATCHES):
            if not found:
                os.kill(pids[0], signal.SIGSTOP)
            found.append(units)
        with suppress(ProcessLookupError):  # its nanny has replaced it
            os.kill(pids[0], signal.SIGCONT)
    assert sorted(found) == BATCHES
    by_the_other = [path for path in tmp_path.iterdir() if str(pids[1]) in path.name]
    assert len(by_the_other) > len(BATCHES) / 2


@pytest.mark.timeout(600)
def test_a_unit_that_takes_too_much_memory_is_named(two_workers):
    with (
        dask_map(two_workers, name="predict swollen") as map_,
        pytest.raises(StageFailed, match=r"predict swollen: unit 13 killed.*memory"),
    ):
        list(map_(swelling, BATCHES))
