"""Behind TLS a slide comes to the same bytes, and nobody else gets in."""

import json

import pytest
from dask_processes import CHOICES, dask_processes, segment_on, tls_arguments, wait_for

from segpipe.config import Settings
from segpipe.errors import SettingsError
from tasks.clusters import provided, workers
from tasks.faults import ClusterLost
from tasks.mapping import connected
from tasks.providers import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(certificates, tmp_path_factory):
    """A scheduler and two workers, as processes that a user started."""
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    tls = tls_arguments(certificates / "ours")
    quiet = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    scheduler = ["scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0"]
    scheduler += ["--scheduler-file", file, *quiet, *tls]
    with dask_processes(scheduler):
        wait_for(file.exists)
        found = json.loads(file.read_text())["address"]
        worker = ["worker", found, "--nthreads", "1", "--no-dashboard", *tls]
        with dask_processes(worker, worker):
            yield found


def profile_of(folder, address, certificates):
    path = folder / "cluster.toml"
    path.write_text(
        f'provider = "address"\naddress = "{address}"\nmin_workers = 2\n'
        f'[tls]\nca = "{certificates}/ca.pem"\ncert = "{certificates}/node.pem"\n'
        f'key = "{certificates}/node.key"\n'
    )
    return Settings(**CHOICES, cluster=path)


def test_the_same_bytes_behind_tls(address, certificates, slide, serial, tmp_path):
    settings = profile_of(tmp_path, address, certificates / "ours")
    with workers(settings) as cluster:
        assert cluster.address.startswith("tls://127.0.0.1:")
        assert segment_on(cluster, slide, tmp_path / "out", settings) == serial


def test_certificates_of_another_authority_are_refused_by_name(
    address, certificates, tmp_path
):
    settings = profile_of(tmp_path, address, certificates / "theirs")
    with (
        pytest.raises(ClusterLost, match=r"don't take each other's certificates.*CA"),
        workers(settings),
    ):
        pass


def test_without_certificates_the_door_is_shut(address):
    with (
        pytest.raises(SettingsError, match=r"wants certificates.*--cluster FILE"),
        provided(Settings(scheduler=address)),
    ):
        pass
    plain = Cluster(address=address.replace("tls://", "tcp://"))
    with pytest.raises(ClusterLost), connected(plain, timeout_s=2):
        pass


@pytest.mark.parametrize("missing", ["ca.pem", "node.pem", "node.key"])
def test_a_file_that_will_not_do_is_named(missing, certificates, tmp_path):
    for path in (certificates / "ours").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / missing).write_text("no certificate")
    settings = profile_of(tmp_path, "tls://127.0.0.1:9", tmp_path)
    with pytest.raises(SettingsError, match=missing), provided(settings):
        pass
