"""Where what is deployed lies."""

from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def deploy():
    return DEPLOY
