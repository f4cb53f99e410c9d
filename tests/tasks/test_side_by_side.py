"""Slides under way at once: a map in threads that can be stopped."""

import threading
import time
from contextvars import ContextVar
from itertools import count

import pytest
from batch_functions import sleeping
from hypothesis import given
from hypothesis import strategies as st

from tasks.flight import Patience
from tasks.mapping import dask_map
from tasks.side_by_side import Stopped, raise_if_stopped, side_by_side

colour = ContextVar("colour", default="grey")


def square(n):
    return n * n


def until_stopped(n):
    if n == 3:
        time.sleep(0.05)
        message = "the disk is full"
        raise OSError(message)
    for _ in range(2000):
        time.sleep(0.005)
        raise_if_stopped()
    return n


@given(n=st.integers(0, 20), at_once=st.integers(1, 6))
def test_results_are_those_of_the_builtin_in_any_order(n, at_once):
    found = side_by_side(square, range(n), at_once=at_once)
    assert sorted(found) == [square(i) for i in range(n)]


@given(at_once=st.integers(2, 6))
def test_so_many_are_under_way_and_never_more(at_once):
    inside, most, lock = [], [], threading.Lock()
    together = threading.Barrier(at_once)

    def call(n):
        with lock:
            inside.append(n)
            most.append(len(inside))
        together.wait(timeout=10)
        with lock:
            inside.remove(n)

    list(side_by_side(call, range(3 * at_once), at_once=at_once))
    assert max(most) == at_once


def test_a_thread_has_the_callers_context_and_changes_it_for_nobody():
    def call(n):
        seen = colour.get()
        colour.set(f"green {n}")
        return seen

    token = colour.set("blue")
    assert set(side_by_side(call, range(6), at_once=3)) == {"blue"}
    assert colour.get() == "blue"
    colour.reset(token)


def test_the_first_error_stops_the_others_and_is_raised():
    started = time.monotonic()
    with pytest.raises(OSError, match="the disk is full"):
        list(side_by_side(until_stopped, count(1), at_once=4))
    assert time.monotonic() - started < 5
    assert not [t for t in threading.enumerate() if t.name.startswith("slide")]


def test_who_stops_asking_stops_them():
    taken = []
    items = (taken.append(n) or n for n in count())
    results = side_by_side(
        lambda n: n if n == 0 else until_stopped(n + 9), items, at_once=3
    )
    assert next(results) == 0
    results.close()
    assert len(taken) == 3
    assert not [t for t in threading.enumerate() if t.name.startswith("slide")]


def test_flights_share_a_cluster_and_stop_between_batches(cluster):
    heard = []

    def fly(n):
        items = [(n, i) for i in range(10 if n < 3 else 10**6)]
        try:
            with dask_map(cluster, name=f"slide {n}", patience=Patience()) as map_:
                found = list(map_(sleeping, items))
        except Stopped:  # also before the first batch
            heard.append(n)
            raise
        assert sorted(found) == items
        return n

    results = side_by_side(fly, range(6), at_once=4)
    assert {next(results) for _ in range(3)} == {0, 1, 2}
    results.close()
    assert sorted(heard) == [3, 4, 5]
