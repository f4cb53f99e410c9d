"""Crash tests: minutes, so they run only where they are asked for by ``--moments``."""

import random
import subprocess
import sys

import pytest
from disturbing import Laboratory, table
from processes import environment

TRIALS = pytest.StashKey[list]()


def pytest_addoption(parser):
    group = parser.getgroup("crash")
    group.addoption("--moments", type=int, help="processes to kill, over all stages")
    group.addoption("--seed", type=int, help="of the moments; by default a new one")


def pytest_ignore_collect(config):
    return True if config.getoption("--moments", default=None) is None else None


def pytest_configure(config):
    config.stash[TRIALS] = []
    if config.getoption("--seed", default=0) is None:
        config.option.seed = random.randrange(10**6)


def pytest_report_header(config):
    if config.option.moments is not None:
        return f"crash: --moments {config.option.moments} --seed {config.option.seed}"
    return None


def pytest_terminal_summary(terminalreporter, config):
    trials = config.stash[TRIALS]
    if trials:
        terminalreporter.section(f"killed (--seed {config.option.seed})")
        terminalreporter.write_line(table(trials))


@pytest.fixture(scope="session")
def trials(request):
    """Every trial so far, for the table at the end."""
    return request.config.stash[TRIALS]


@pytest.fixture(scope="session")
def api(tmp_path_factory):
    """A Prefect API that outlives the runs which don't bring their own."""
    home = tmp_path_factory.mktemp("prefect")
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "tasks.embedded_server", "0"],
        env=environment("server") | {"PREFECT_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/api"
        server.terminate()


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory, api):
    """A slide, what an undisturbed run makes of it, and runs to disturb."""
    return Laboratory.at(tmp_path_factory.mktemp("laboratory"), api)
