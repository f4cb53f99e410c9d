"""Fixtures and strategies for every test."""

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


@pytest.fixture
def rng():
    return np.random.default_rng(20260101)
