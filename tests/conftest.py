"""Fixtures and strategies for every test, and what keeps all of them quick."""

import gc
import os
from importlib import import_module
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

# There is a test process for each core: more threads would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Don't look for garbage while all is imported, nor later among that."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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


@pytest.fixture(scope="module")
def dark_blobs(tmp_path_factory):
    """Weights of the detector for tests, which counts as a network meanwhile."""
    networks = import_module("segpipe.networks")  # late: it takes torch seconds
    chosen = import_module("plugged.dark_blobs").NETWORK
    path = tmp_path_factory.mktemp("dark_blobs") / "dark_blobs.safetensors"
    card = networks.Card(
        name="dark_blobs",
        network=chosen.name,
        sha256=networks._weights.write_weights(chosen.build(2), path),
        mpp=chosen.mpp,
        types=("round", "long"),
    )
    path.with_suffix(".toml").write_text(card.to_toml())
    known = {**networks.networks(), chosen.name: chosen}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(networks._registry, "networks", lambda: known)
        yield path


@pytest.fixture
def rng():
    return np.random.default_rng(20260101)
