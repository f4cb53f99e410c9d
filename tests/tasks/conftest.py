"""Two real workers, for every test that maps."""

import pytest

from segpipe.config import Settings
from tasks.clusters import provided


@pytest.fixture(scope="session")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)  # the provider is to set it
        with provided(Settings(workers=2, device="cpu")) as cluster:
            yield cluster
