"""Fixtures and strategies for every test."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "segpipe",
    deadline=None,
    max_examples=50,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("segpipe")

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Run a folder's tests in one process, so that what they share is made once.

    What is slow is skipped unless it is asked for by ``-m slow``.
    """
    skip_slow = "slow" not in config.getoption("markexpr")
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        item.add_marker(pytest.mark.xdist_group(folder))
        if skip_slow and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: -m slow"))


@pytest.fixture
def rng():
    return np.random.default_rng(20260101)
