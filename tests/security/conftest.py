"""Tests marked slow stand up servers: `make hostile` runs them."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(config, items):
    """Skip what is slow unless it is asked for by ``-m slow``."""
    if "slow" in config.getoption("markexpr"):
        return
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="by `make hostile`"))
