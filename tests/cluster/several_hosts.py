"""A scheduler and workers on hosts of their own, one of which is cut off mid-run.

Not part of `make test`: a run on three hosts takes a minute. Run by name:
``pytest -n 0 tests/cluster/several_hosts.py``.
"""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from dask_processes import dask_processes, table_bytes, tls_arguments
from hosts import Hosts, why_not

HERE = Path(__file__).parent
IMPATIENT = {
    # An unplugged host says nothing; this is how soon it is given up.
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "20s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s",
}
WITHOUT_PORTS = ["--no-dashboard", "--dashboard-address", ":0"]

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "can run")


@pytest.fixture
def hosts():
    with closing(Hosts(3)) as hosts:
        yield hosts


@pytest.fixture
def tls(certificates, monkeypatch):
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parent / 'stages'}")
    return tls_arguments(certificates / "ours")


@pytest.fixture
def profile(hosts, certificates, tmp_path):
    folder = certificates / "ours"
    path = tmp_path / "cluster.toml"
    path.write_text(
        f'provider = "address"\naddress = "tls://{hosts.address(1)}:8786"\n'
        f'min_workers = 2\n[tls]\nca = "{folder}/ca.pem"\n'
        f'cert = "{folder}/node.pem"\nkey = "{folder}/node.key"\n'
    )
    return path


def worker(hosts, number, tls):
    return [
        "worker",
        f"tls://{hosts.address(1)}:8786",
        *["--host", hosts.address(number), "--nthreads", "1", *WITHOUT_PORTS[:1], *tls],
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", ["tile", "label"])
def test_a_host_that_is_cut_off_mid_run_changes_no_byte(  # noqa: PLR0917
    stage, hosts, tls, profile, slide, serial, tmp_path
):
    scheduler = ["scheduler", "--protocol", "tls", "--host", hosts.address(1)]
    scheduler += ["--port", "8786", *WITHOUT_PORTS, *tls]
    line = [*hosts.on(1), sys.executable, HERE / "segmenting.py"]
    line += [slide.path, tmp_path / "out", profile]
    with (
        dask_processes(scheduler, before=hosts.on(1)),
        dask_processes(worker(hosts, 2, tls), before=hosts.on(2)),
        dask_processes(worker(hosts, 3, tls), before=hosts.on(3)),
        subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as driver,
    ):
        for said in driver.stdout:
            if said.strip() == stage:
                hosts.cut_off(3)
                break
        rest = driver.stdout.read()
        assert driver.wait() == 0
    assert "measure" in rest
    assert table_bytes(tmp_path / "out") == serial
