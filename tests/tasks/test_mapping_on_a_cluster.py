"""The mapper gives what the builtin gives, whatever the workers go through."""

import os
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import psutil
import pytest
from batch_functions import (
    deadly,
    deadly_once,
    doubled,
    failing,
    failing_twice,
    hanging,
    noting_start_and_end,
    written,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import SlideCorrupt, StageFailed
from segpipe.stages._stage import batches
from tasks.faults import ClusterLost
from tasks.flight import Patience
from tasks.mapping import connected, dask_map
from tasks.providers import Cluster

BATCHES = list(batches(range(40), 4))


@dataclass
class Onlooker:
    workers: set[str] = field(default_factory=set)
    failures: list[tuple] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def landed(self, worker):
        self.workers.add(worker)

    def failed(self, item, attempt, error):
        self.failures.append((item, attempt, type(error).__name__))

    def lost(self, workers):
        self.gone |= set(workers)


@settings(max_examples=8)
@given(n_units=st.integers(0, 60), size=st.integers(1, 9))
def test_results_are_those_of_the_builtin_in_any_order(cluster, n_units, size):
    items = list(batches(range(n_units), size))
    with dask_map(cluster) as map_:
        assert sorted(map_(doubled, items)) == sorted(map(doubled, items))


def test_transient_errors_are_tried_again(cluster, tmp_path):
    patience = Patience(backoff_s=0.05)
    seen = Onlooker()
    with dask_map(cluster, patience=patience, witness=seen) as map_:
        found = sorted(map_(partial(failing_twice, tmp_path), BATCHES))
    assert found == BATCHES
    assert sorted(seen.failures) == [
        (batch, attempt, "OSError") for batch in BATCHES for attempt in (1, 2)
    ]
    with connected(cluster) as client:
        assert seen.workers <= set(client.nthreads())


def test_errors_that_stay_are_raised_after_the_last_try(cluster, tmp_path):
    error = OSError(5, "Input/output error")
    patience = Patience(tries=3, backoff_s=0.01)
    with (
        dask_map(cluster, patience=patience) as map_,
        pytest.raises(OSError, match="Input/output"),
    ):
        list(map_(partial(failing, tmp_path, error), BATCHES))
    assert len(list(tmp_path.glob("8-*"))) == 3


def test_errors_of_the_slide_are_raised_at_once_and_as_they_are(cluster, tmp_path):
    error = SlideCorrupt("tile 3 is no JPEG")
    with (
        dask_map(cluster) as map_,
        pytest.raises(SlideCorrupt, match="tile 3 is no JPEG"),
    ):
        list(map_(partial(failing, tmp_path, error), BATCHES))
    assert len(list(tmp_path.glob("8-*"))) == 1


def test_no_batch_is_left_running_behind_an_error(cluster, tmp_path):
    with dask_map(cluster) as map_, pytest.raises(ValueError, match="not this one"):
        list(map_(partial(noting_start_and_end, tmp_path), batches(range(400), 4)))
    n_started = len(list(tmp_path.glob("start-*")))
    assert 0 < n_started < 50
    assert n_started == len(list(tmp_path.glob("end-*")))


def test_only_a_few_batches_are_taken_ahead(cluster):
    taken = []
    items = (taken.append(item) or item for item in BATCHES)
    with dask_map(cluster, patience=Patience(in_flight_per_thread=2)) as map_:
        next(iter(map_(doubled, items)))
    assert len(taken) <= 2 * 2 + 1


def test_who_stops_listening_stops_the_work(cluster, tmp_path):
    items = list(batches(range(400), 2))
    with dask_map(cluster) as map_:
        list(islice(map_(partial(written, tmp_path), items), 3))
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) < 40


def test_workers_that_die_lose_nothing(cluster, tmp_path):
    seen, more = Onlooker(), (41,)

    def until_seen():
        """Go on until the next look at who is there; they are seconds apart."""
        yield from BATCHES
        give_up = time.monotonic() + 60
        while not seen.gone and time.monotonic() < give_up:
            time.sleep(0.05)
            yield more

    with dask_map(cluster, witness=seen) as map_:
        found = list(map_(partial(deadly_once, tmp_path), until_seen()))
    done = [unit for units in found if units != more for unit in units]
    assert sorted(done) == list(range(40))
    assert seen.gone


def test_the_unit_that_kills_workers_is_named_and_the_others_are_done(
    cluster, tmp_path
):
    seen = Onlooker()
    with (
        dask_map(cluster, name="label", witness=seen) as map_,
        pytest.raises(StageFailed, match="label: unit 13 killed every worker"),
    ):
        list(map_(partial(deadly, tmp_path), [tuple(range(12, 16))]))
    done = {n for path in tmp_path.iterdir() for n in path.name.split("-")[1:]}
    assert seen.failures[0] == (tuple(range(12, 16)), 1, "KilledWorker")
    assert done >= {"12"}
    assert "13" not in done


def test_a_cluster_that_stands_still_says_where_and_then_works_again(cluster):
    with dask_map(cluster, name="tile", patience=Patience(stall_s=2)) as map_:
        with pytest.raises(StageFailed, match=r"tile: no batch ended for 2 s") as found:
            list(map_(hanging, [(4, 5)]))
        assert "units 4 to 5" in str(found.value)
        assert "time.sleep(600)" in str(found.value)
    with dask_map(cluster) as map_:
        assert list(map_(doubled, [(1, 2)])) == [(2, 4)]


def test_a_resource_that_no_worker_has_is_no_fault_of_the_slide(cluster):
    patience = Patience(stall_s=1, drain_s=0)
    with (
        dask_map(cluster, resources={"GPU": 1}, patience=patience) as map_,
        pytest.raises(ClusterLost, match=r"no worker took a batch.*GPU"),
    ):
        list(map_(doubled, BATCHES))


def test_an_address_without_a_scheduler_is_refused_by_name():
    with (
        pytest.raises(ClusterLost, match=r"No Dask scheduler answers at tcp://127"),
        connected(Cluster(address="tcp://127.0.0.1:9"), timeout_s=0.3),
    ):
        pass


@pytest.mark.usefixtures("cluster")
def test_nothing_listens_beyond_loopback():
    own = psutil.Process()
    ports = [
        connection.laddr
        for process in [own, *own.children(recursive=True)]
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(ports) >= 3
    assert {port.ip for port in ports} == {"127.0.0.1"}


def test_a_worker_computes_in_one_thread_and_sees_no_ctrl_c(cluster):
    def environment():
        ignored = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return os.environ["OMP_NUM_THREADS"], signal.SIGINT in ignored

    with connected(cluster) as client:
        found = client.run(environment)
    assert set(found.values()) == {("1", True)}
