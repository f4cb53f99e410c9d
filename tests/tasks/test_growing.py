"""Clusters that grow and shrink: they are waited for, and who leaves killed nobody."""

import time
from dataclasses import replace
from itertools import count

import pytest
from batch_functions import napping

from segpipe.config import Settings
from tasks.clusters import provided
from tasks.faults import ClusterLost
from tasks.flight import Patience
from tasks.mapping import connected, dask_map
from tasks.witness import Nobody

BATCHES = [(number,) for number in range(24)]


class Accuser(Nobody):
    """Keeps what failed."""

    def __init__(self):
        self.failures = []

    def failed(self, item, attempt, error):
        self.failures.append((item, attempt, error))


@pytest.fixture(scope="module")
def growing(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "cluster.toml"
    path.write_text('provider = "local"\n[cpu]\nmin = 0\nmax = 2\nidle_s = 3\n')
    with provided(Settings(cluster=path, device="cpu")) as cluster:
        yield cluster


@pytest.mark.slow
def test_it_begins_with_none_grows_with_its_work_and_ends_with_none(growing):
    with connected(growing) as client:
        assert client.nthreads() == {}
        with dask_map(growing) as map_:
            assert sorted(map_(napping, BATCHES)) == BATCHES
        deadline = time.monotonic() + 60
        while client.nthreads() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert client.nthreads() == {}


@pytest.mark.slow
def test_a_worker_that_retires_in_the_middle_is_held_against_no_batch(growing):
    accuser, retired, found, taken = Accuser(), [], [], []

    def until_one_has_retired():
        for units in ((number,) for number in count()):
            if retired and units[0] % 8 == 0:
                return
            taken.append(units)
            yield units

    with connected(growing) as client, dask_map(growing, witness=accuser) as map_:
        for units in map_(napping, until_one_has_retired()):
            found.append(units)
            if not retired and len(client.nthreads()) == 2:
                retired += client.retire_workers([next(iter(client.nthreads()))])
    assert sorted(found) == taken
    assert len(retired) == 1
    assert accuser.failures == []


def test_workers_that_never_come_are_waited_for_so_long_and_no_longer(cluster):
    with_gpus_to_come = replace(cluster, most_threads=3, wait_s=1)
    patience = Patience(stall_s=600, drain_s=0)
    with (
        dask_map(with_gpus_to_come, resources={"GPU": 1}, patience=patience) as map_,
        pytest.raises(ClusterLost, match=r"no worker took a batch for 1 s.*GPU"),
    ):
        list(map_(napping, BATCHES))
