"""Two real workers, for every test that maps."""

import pytest

from segpipe.config import Settings
from tasks.clusters import provided


@pytest.fixture(scope="module")
def cluster():
    with provided(Settings(workers=2, device="cpu")) as cluster:
        yield cluster
