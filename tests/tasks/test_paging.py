"""Runs are read a page at a time, and all of them."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.paging import PAGE, every_run


@given(st.integers(0, 3 * PAGE + 1), st.integers(1, PAGE))
def test_all_are_read_once_and_in_order_whatever_a_page_holds(n_runs, n_at_once):
    def read(*, of, limit, offset):
        assert limit == PAGE
        return of[offset : offset + n_at_once]

    assert every_run(read, of=list(range(n_runs))) == list(range(n_runs))
