"""A run listens on loopback only, lets no other user in, and calls nobody.

The server and workers of a run are stood up once, where the system allows it in a
network namespace that has nothing but loopback. It takes half a minute: `make
hostile` runs it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
ALONE = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Runs a command where there is no network but loopback."""


def can_be_alone():
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return (
        subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("standing")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PREFECT_") and name not in {"DO_NOT_TRACK", "CI"}
    } | {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PYTHONPATH": os.pathsep.join([str(HERE / "watched"), str(HERE.parents[1])]),
        "CALLS_ELSEWHERE": str(folder / "calls"),
    }
    command = [sys.executable, str(HERE / "standing.py"), str(folder / "found")]
    prefix = ALONE if can_be_alone() else []
    ended = subprocess.run(
        [*prefix, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert ended.returncode == 0, ended.stderr
    calls = folder / "calls"
    return json.loads((folder / "found").read_text()) | {
        "calls": calls.read_text() if calls.exists() else ""
    }


def test_it_runs_with_no_network_at_all(found):
    assert found["answer"] == 7
    assert found["states"] == ["Completed"]


def test_server_scheduler_workers_and_nannies_listen_on_loopback(found):
    assert len(found["listening"]) >= 5
    assert {ip for ip, _ in found["listening"]} == {"127.0.0.1"}


def test_other_users_of_the_machine_are_not_let_in_without_the_login(found):
    assert found["without_login"] == 401


def test_nobody_elsewhere_is_called(found):
    assert found["calls"] == ""


def test_the_watch_sees_a_call(tmp_path):
    code = "import socket; socket.getaddrinfo('example.invalid', 80)"
    subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        env=os.environ
        | {
            "PYTHONPATH": str(HERE / "watched"),
            "CALLS_ELSEWHERE": str(tmp_path / "calls"),
        },
    )
    assert "example.invalid" in (tmp_path / "calls").read_text()
