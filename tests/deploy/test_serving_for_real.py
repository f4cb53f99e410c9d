"""A service as a lab runs it: server, schedule and worker, from start to stop."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from small_slides import write_slide

from segpipe import open_slide, read_nuclei
from segpipe.geometry import Box
from tasks.leash import MARK

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cmu-1-small-region.svs"
NAMES = {"segment-cohort", "segment-slide", "train-network", "evaluate-network"}
PATIENCE_S = 300
STOP_S = 10
"""What is promised of Ctrl-C."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with an inbox of one slide, and a configuration."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "inbox").mkdir()
    with open_slide(EXAMPLE) as opened:
        rgb = opened.read(Box(1500, 900, 1990, 1540), 0)
    write_slide(folder / "inbox" / "cut.tif", rgb)
    (folder / "lab.toml").write_text('workers = 1\ndevice = "cpu"\nreport = false\n')
    return folder


@pytest.fixture(scope="module")
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Served:
    """A service that is up."""

    def __init__(self, process, lab, port):
        self.process, self.lab, self.port = process, lab, port
        self.home = lab / "out" / "server"
        self.login = (self.home / "auth").read_text().strip()
        url = f"http://127.0.0.1:{port}/api"
        self.api = httpx.Client(base_url=url, auth=tuple(self.login.split(":", 1)))

    def ask(self, path, **content):
        def answer():
            said = self.api.post(path, json=content, timeout=60)
            return said if said.status_code != httpx.codes.SERVICE_UNAVAILABLE else None

        said = wait(answer)  # Prefect's own clients ask again too
        said.raise_for_status()
        return said.json()

    def deployments(self):
        return {one["name"]: one for one in self.ask("/deployments/filter")}

    def run(self, name, **parameters):
        identity = self.deployments()[name]["id"]
        content = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.ask(f"/deployments/{identity}/create_flow_run", **content)["id"]

    def state(self, run):
        return self.ask("/flow_runs/filter", flow_runs={"id": {"any_": [run]}})[0][
            "state"
        ]

    def wait_for(self, run, *wanted):
        return wait(lambda: self.state(run)["type"] in wanted and self.state(run))

    def program(self, name):
        """Return the process of the server or the worker."""
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):  # a zombie has no command line
                if name in child.cmdline():
                    return child
        return None

    def stop(self, number=signal.SIGTERM):
        started = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        return code, time.monotonic() - started


@contextmanager
def serving(lab, port, *options):
    """Serve the lab; yield when the worker has started."""
    log = (lab / f"serve-{time.time_ns()}.log").open("w+")
    where = ["--inbox", "inbox", "--out", "out", "--port", str(port)]
    where += ["--config", "lab.toml"]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "serve", *where, *options],
        cwd=lab,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait(lambda: "serving" in Path(log.name).read_text() or process.poll())
        assert process.poll() is None, Path(log.name).read_text()
        served = Served(process, lab, port)
        wait(lambda: "started!" in (served.home / "logs" / "worker.log").read_text())
        yield served
        served.api.close()
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        log.close()


def wait(is_so):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
    return found


def leashed(lab):
    """Return the processes that a service of this lab started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if MARK in environment and str(lab) in environment.get("PREFECT_HOME", ""):
                found.append(process)
    return found


def prefect(served, *arguments):
    """Run Prefect's own command line against the service."""
    ours = {
        "PREFECT_HOME": str(served.lab / "client"),
        "PREFECT_API_URL": f"http://127.0.0.1:{served.port}/api",
        "PREFECT_API_AUTH_STRING": served.login,
        "PYTHONPATH": str(ROOT),
        "DO_NOT_TRACK": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        env=os.environ | ours,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )


def test_a_service_from_start_to_stop(lab, port):
    with serving(lab, port, "--cron", "off") as served:
        assert_it_is_closed_to_others(served)
        assert set(served.deployments()) == NAMES
        identities = {name: one["id"] for name, one in served.deployments().items()}
        assert_one_slide_becomes_a_table(served)
        assert_what_dies_is_started_again(served)
        left = served.run("segment-slide", slide=slide(lab, "left"))
        served.wait_for(left, "RUNNING")
        wait((lab / "out" / "ledger" / "left").exists)
        code, seconds = served.stop(signal.SIGINT)
        assert code == 0
        assert seconds < STOP_S
        assert leashed(lab) == []
    soon = datetime.now(tz=UTC) + timedelta(minutes=2)
    cron = f"{soon.minute} {soon.hour} * * *"
    with serving(lab, port, "--cron", cron, "--timezone", "UTC") as served:
        again = {name: one["id"] for name, one in served.deployments().items()}
        assert again == identities
        (schedule,) = served.deployments()["segment-cohort"]["schedules"]
        assert schedule["schedule"]["cron"] == cron
        assert served.state(left)["type"] == "CRASHED"
        assert_nothing_is_said_to_run(served)
        scheduled = wait(lambda: runs_of(served, "segment-cohort"))[0]["id"]
        assert served.wait_for(scheduled, "COMPLETED", "FAILED", "CRASHED")
        assert served.state(scheduled)["type"] == "COMPLETED"
        os.kill(served.process.pid, signal.SIGKILL)
        wait(lambda: leashed(lab) == [])


def test_what_the_file_deploys_runs_by_its_worker(lab, port, deploy):
    with serving(lab, port, "--cron", "off") as served:
        before = {name: one["id"] for name, one in served.deployments().items()}
        file = ("--prefect-file", str(deploy / "prefect.yaml"))
        prefect(served, "deploy", "--all", *file)
        found = served.deployments()
        assert {name: one["id"] for name, one in found.items()} == before
        (schedule,) = found["segment-cohort"]["schedules"]
        assert schedule["schedule"]["cron"] == "0 2 * * *"
        assert schedule["active"]
        assert found["segment-cohort"]["parameters"]["inputs"] == ["/data/inbox"]
        properties = found["evaluate-network"]["parameter_openapi_schema"]["properties"]
        assert {"manifest", "weights", "split"} <= set(properties)
        chosen = json.dumps({"settings": {"workers": 1, "device": "cpu"}})
        name = ("--name", "segment-slide", "--params", chosen)
        prefect(served, "deploy", *name, *file)
        parameters = served.deployments()["segment-slide"]["parameters"]
        assert parameters["out"] == "/data/results"
        assert parameters["settings"] == {"workers": 1, "device": "cpu"}
        out = str(lab / "other")
        run = served.run("segment-slide", slide=slide(lab, "cut"), out=out)
        assert served.wait_for(run, "COMPLETED", "FAILED", "CRASHED")
        assert served.state(run)["type"] == "COMPLETED"
        assert len(read_nuclei(out)) > 10


def slide(lab, name):
    return {"id": name, "path": str(lab / "inbox" / "cut.tif")}


def runs_of(served, name):
    by_name = {"deployments": {"name": {"any_": [name]}}}
    begun = {"flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}}}
    return served.ask("/flow_runs/filter", **by_name, **begun)


def assert_it_is_closed_to_others(served):
    assert stat.S_IMODE((served.home / "auth").stat().st_mode) == 0o600
    url = f"http://127.0.0.1:{served.port}/api/flows/filter"
    assert httpx.post(url, json={}, timeout=60).status_code == 401
    assert b"<html" in httpx.get(f"http://127.0.0.1:{served.port}/").content.lower()
    family = [served.process.pid, *(one.pid for one in leashed(served.lab))]
    for pid in family:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            assert served.login not in " ".join(process.cmdline())
            listens = [
                each.laddr.ip
                for each in process.net_connections()
                if each.status == psutil.CONN_LISTEN
            ]
            assert set(listens) <= {"127.0.0.1"}, process.cmdline()


def assert_one_slide_becomes_a_table(served):
    run = served.run("segment-slide", slide=slide(served.lab, "cut"))
    assert served.wait_for(run, "COMPLETED", "FAILED", "CRASHED")
    assert served.state(run)["type"] == "COMPLETED"
    nuclei = read_nuclei(served.lab / "out")
    assert len(nuclei) > 10
    assert np.isfinite(nuclei["area_um2"]).all()


def assert_what_dies_is_started_again(served):
    for name in ("server", "worker"):
        before = served.program(name)
        before.kill()
        wait(lambda before=before: not before.is_running())
        wait(lambda name=name: served.program(name))
    wait(lambda: is_well(served))
    wait(lambda: "started!" in last_lines(served.home / "logs" / "worker.log"))


def is_well(served):
    with suppress(httpx.HTTPError):
        return served.api.get("/health", timeout=5).status_code == 200
    return False


def last_lines(path):
    return "\n".join(path.read_text().splitlines()[-3:])


def assert_nothing_is_said_to_run(served):
    under_way = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    assert served.ask("/flow_runs/filter", flow_runs=under_way) == []
    assert served.ask("/task_runs/filter", task_runs=under_way) == []
