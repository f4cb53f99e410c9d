"""The embedded server comes up in a fresh home, hears a flow, and leaves nothing."""

import os
import subprocess
import sys
import time
from contextlib import suppress

CODE = """
import os, sys
from tasks.embedded_server import prefect_api
from prefect import flow
from prefect.client.orchestration import get_client

@flow(name="probe")
def probe():
    return 7

with prefect_api() as wait_for_api:
    wait_for_api()
    assert probe() == 7
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs()
        print(run.state_name, client.api_url, flush=True)
    if sys.argv[1] == "dies":
        os._exit(9)
"""


def run_probe(tmp_path, how):
    home = tmp_path / "home"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PREFECT_")
    } | {"PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    found = subprocess.run(
        [sys.executable, "-c", CODE, how],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    return found, home


def servers_of(home):
    """Return the processes whose environment names this home."""
    found = []
    for entry in os.scandir("/proc"):
        with suppress(OSError):
            if str(home) in open(f"/proc/{entry.name}/environ").read():  # noqa: PTH123, SIM115
                found.append(entry.name)
    return found


def test_the_server_serves_one_run_and_ends_with_it(tmp_path):
    # A folder of the package's name nearby must not be taken for it.
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("raise RuntimeError")
    found, home = run_probe(tmp_path, "ends")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("Completed http://127.0.0.1:")
    assert (home / "prefect.db").exists()
    assert servers_of(home) == []
