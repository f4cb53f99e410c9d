"""When the table and page of all slides are written anew: once a run, at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from segpipe.stages.catalog import write_catalog
from segpipe.stores.layout import Layout

_is_inside: ContextVar[bool] = ContextVar("segpipe_cataloguing", default=False)


@contextmanager
def cataloguing(layout: Layout) -> Iterator[None]:
    """Write the catalog when the block ends, also by an error.

    Inside another such block nothing is done: a cohort of ten thousand slides writes
    its catalog once.
    """
    if _is_inside.get():
        yield
        return
    token = _is_inside.set(True)
    try:
        yield
    finally:
        _is_inside.reset(token)
        write_catalog(layout)
