"""Two real workers, for every test that maps."""

import pytest

from segpipe.config import Settings
from tasks.local_cluster import local_cluster


@pytest.fixture(scope="module")
def address():
    with local_cluster(Settings(workers=2, device="cpu")) as (address, _):
        yield address
