"""The embedded server comes up in a fresh home, hears a flow, and leaves nothing."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

CODE = """
import os, psutil
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from tasks.embedded_server import prefect_api
from prefect import flow
from prefect.client.orchestration import get_client

@flow(name="probe")
def probe():
    return 7

with prefect_api() as wait_for_api:
    wait_for_api()
    assert probe() == 7
    (server,) = psutil.Process().children()
    server.kill()
    assert probe() == 7
    with get_client(sync_client=True) as client:
        states = [run.state_name for run in client.read_flow_runs()]
        url = str(client.api_url).rstrip("/")
        print(states, url, flush=True)
    try:
        urlopen(Request(url + "/flows/filter", b"{}"))
    except HTTPError as refused:
        print("without the login:", refused.code, flush=True)
    os._exit(9)  # as if killed
"""


def run_probe(folder, home):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PREFECT_")
    } | {"PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    return subprocess.run(
        [sys.executable, "-P", "-c", CODE],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )


def servers_of(home):
    """Return the processes whose environment names this home."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(home).encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_server_outlives_its_own_death_but_not_that_of_the_run(tmp_path):
    home, folder = tmp_path / "home", tmp_path / "with its own tasks"
    folder.mkdir()
    (folder / "tasks.py").write_text("raise RuntimeError('not the package')")
    found = run_probe(folder, home)
    assert found.returncode == 9, found.stderr
    assert found.stdout.startswith("['Completed', 'Completed'] http://127.0.0.1:")
    assert found.stdout.endswith("without the login: 401\n")
    deadline = time.monotonic() + 10
    while servers_of(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert servers_of(home) == []
