"""What is tried beside what, on a cluster that only says it is one."""

import threading
from concurrent.futures import Future

import pytest
from distributed import KilledWorker

from segpipe.errors import StageFailed
from tasks import flight
from tasks.flight import Flight, Patience

LAND_S = 0.2
"""How long a batch takes: many looks at the cluster."""


class Landing(Future):
    status = "finished"

    def __init__(self, key):
        super().__init__()
        self.key = key


class Cluster:
    """A worker that takes what comes, and that unit 13 kills so many times."""

    status = "running"

    def __init__(self, *, kills):
        self.kills = kills
        self.under_way = []
        self.together = []
        """Of each batch that was launched: all that were under way then, it last."""

    def nthreads(self):
        return {"tcp://worker": 1}

    def submit(self, _function, item, *, key, **_options):
        self.under_way.append(item)
        self.together.append(tuple(self.under_way))
        future = Landing(key)
        threading.Timer(LAND_S, self.end, [future, item]).start()
        return future

    def end(self, future, item):
        self.under_way.remove(item)
        if 13 in item and self.kills:
            self.kills -= 1
            future.set_exception(KilledWorker(future.key, None, 0))
        else:
            future.set_result(("tcp://worker", item))

    def cancel(self, futures, *, reason):
        pass


ITEMS = [(unit,) for unit in range(13, 19)]


@pytest.fixture
def flown(monkeypatch):
    monkeypatch.setattr(flight, "LOOK_S", LAND_S / 20)

    def fly(cluster, items):
        return Flight(
            client=cluster,
            function=None,
            fresh=iter(items),
            name="label",
            resources={},
            patience=Patience(in_flight_per_thread=2, lone_tries=2),
        ).results()

    return fly


def with_the_suspect(cluster):
    """What was under way with unit 13 whenever a batch was launched, once it killed."""
    tries = [n for n, units in enumerate(cluster.together) if units[-1] == (13,)]
    later = cluster.together[tries[1] :]
    return len(tries), {units for units in later if (13,) in units}


def test_nothing_is_launched_beside_a_suspect_that_is_tried_alone(flown):
    cluster = Cluster(kills=2)
    assert sorted(flown(cluster, ITEMS)) == ITEMS
    assert with_the_suspect(cluster) == (3, {((13,),)})
    assert max(map(len, cluster.together)) == 2


def test_a_unit_is_named_when_it_has_killed_workers_alone_and_only_then(flown):
    cluster = Cluster(kills=99)
    with pytest.raises(StageFailed, match=r"label: unit 13 killed .* also alone"):
        list(flown(cluster, ITEMS))
    assert with_the_suspect(cluster) == (3, {((13,),)})
