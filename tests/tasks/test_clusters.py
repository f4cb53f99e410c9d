"""Where workers may be, and how many there are."""

from contextvars import Context

import pytest

from segpipe.config import Settings
from segpipe.errors import SettingsError
from tasks.clusters import current_cluster
from tasks.faults import ClusterLost
from tasks.providers import Group, local
from tasks.providers.address import checked_address
from tasks.providers.local import gpu_environments, worker_specs


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:8786",
        "tcp://localhost:1",
        "tcp://[::1]:5",
        "tls://far.org:8786",
    ],
)
def test_schedulers_on_loopback_or_behind_tls_are_taken(address):
    assert checked_address(address) == address


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.3:8786", "tcp://cluster.org:8786", "tcp://0.0.0.0:8786"]
)
def test_open_schedulers_elsewhere_are_refused_with_the_reason(address):
    with pytest.raises(SettingsError, match=r"runs code on its workers.*tls://"):
        checked_address(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8786", "tcp://127.0.0.1", "http://localhost:80", "tcp://a:b"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(SettingsError, match=r"looks like tcp://127\.0\.0\.1:8786"):
        checked_address(address)


def test_there_is_no_address_outside_of_workers():
    with pytest.raises(LookupError, match="with workers"):
        Context().run(current_cluster)


def test_a_cpu_machine_has_the_workers_asked_for_and_no_gpu_worker():
    specs = worker_specs(Group(min=3, max=3), "cpu")
    assert sorted(specs) == ["cpu-0", "cpu-1", "cpu-2"]
    assert {spec["options"]["host"] for spec in specs.values()} == {"127.0.0.1"}


DYING = """
import os, pathlib
deaths = pathlib.Path({folder!r})
if len(list(deaths.iterdir())) < {n}:
    (deaths / str(os.getpid())).touch()
    os._exit(1)
"""


@pytest.mark.parametrize("n_deaths", [1, local.TRIES + 1])
def test_workers_that_die_while_they_start_are_started_again(
    tmp_path, monkeypatch, n_deaths
):
    specs = worker_specs(Group(min=1, max=1), "cpu")
    dying = DYING.format(folder=str(tmp_path), n=n_deaths)
    specs["cpu-0"]["options"]["preload"] = [dying]
    monkeypatch.setattr(local, "worker_specs", lambda *_: specs)
    start = local.start(local.LocalProfile(), Settings(device="cpu"))
    if n_deaths == 1:
        with start as cluster:
            assert cluster.n_awaited == 1
    else:
        with pytest.raises(ClusterLost, match=r"died .* 3 times.*--serial"), start:
            pass
    assert len(list(tmp_path.iterdir())) == min(n_deaths, local.TRIES)


def test_each_gpu_has_one_worker_that_sees_only_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert gpu_environments("cuda") == [
        {"CUDA_VISIBLE_DEVICES": "2"},
        {"CUDA_VISIBLE_DEVICES": "5"},
    ]
    assert gpu_environments("cuda:1") == [{}]
    assert gpu_environments("cpu") == []
