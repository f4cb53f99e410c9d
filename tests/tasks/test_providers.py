"""Cluster profiles: what they may say, and what is asked for in their name."""

import json
from functools import cache
from importlib import import_module
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from segpipe.config import Settings
from segpipe.errors import SettingsError
from tasks.clusters import provided
from tasks.providers import Group, provider_named, providers, read_profile
from tasks.providers._pods import cluster_manifest, gpu_manifest
from tasks.providers._scaling import wanted
from tasks.providers._tls import Tls
from tasks.providers.slurm import job

ROOT = Path(__file__).parents[2]
PROFILES = sorted((ROOT / "deploy" / "clusters").glob("*.toml"))
SLURM = 'provider = "slurm"\nshared_folder = "s"\n[cpu]\nmax = 1\nmemory = "3 GiB"\n'
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_each_profile_that_ships_is_taken(path):
    profile = read_profile(path)
    assert profile.provider in providers()


def test_there_is_a_profile_for_each_provider():
    assert {read_profile(path).provider for path in PROFILES} == set(providers())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"no provider ''.*address, kubernetes, local, slurm"),
        ('provider = "yarn"', "no provider 'yarn'"),
        ('provider = "local"\ncores = 3', r"cores = 3: Extra inputs"),
        ('provider = "local"\n[cpu]\nmin = 4\nmax = 2', r"min = 4 is more than max"),
        ("provider = ", r"can't be read as TOML"),
        (
            f'{SLURM}[gpu]\nmax = 2\nmemory = "9 GiB"\nworkers_per_job = 2',
            "one worker and one GPU",
        ),
    ],
)
def test_a_profile_that_cannot_be_is_refused_with_the_reason(text, complaint, tmp_path):
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=complaint):
        read_profile(path)


def test_paths_begin_beside_the_profile(tmp_path):
    path = tmp_path / "cluster.toml"
    path.write_text(
        'provider = "address"\naddress = "tls://far:1"\n'
        '[tls]\nca = "ca.pem"\ncert = "/etc/cert.pem"\nkey = "keys/key.pem"'
    )
    tls = read_profile(path).tls
    assert tls.ca == tmp_path / "ca.pem"
    assert tls.cert == Path("/etc/cert.pem")
    assert tls.key == tmp_path / "keys" / "key.pem"


def test_a_cluster_profile_excludes_other_sources_of_workers():
    with pytest.raises(ValueError, match=r"workers=2 and cluster=a.toml exclude"):
        Settings(workers=2, cluster=Path("a.toml"))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dask_jobqueue.slurm", None)
    settings = Settings(cluster=ROOT / "deploy" / "clusters" / "slurm.toml")
    with (
        pytest.raises(SettingsError, match=r"pip install '\.\[slurm\]'"),
        provided(settings),
    ):
        pass


@pytest.mark.parametrize(
    ("device", "complaint"),
    [("cpu", "Say --device cuda, or leave"), ("cuda", "say --device cpu")],
)
def test_gpu_workers_and_the_device_must_agree(device, complaint, tmp_path):
    gpu = '[gpu]\nmax = 1\nmemory = "9 GiB"' if device == "cpu" else ""
    path = tmp_path / "slurm.toml"
    path.write_text(f"{SLURM}{gpu}")
    with (
        pytest.raises(SettingsError, match=complaint),
        provided(Settings(cluster=path, device=device)),
    ):
        pass


groups = st.tuples(st.integers(0, 50), st.integers(1, 50)).map(
    lambda limits: Group(min=min(limits), max=max(limits))
)


@given(
    group=groups,
    n_tasks=st.integers(0, 500),
    n_now=st.integers(0, 60),
    n_idle=st.integers(0, 60),
)
def test_a_group_stays_within_its_limits_and_only_idle_workers_go(
    group, n_tasks, n_now, n_idle
):
    n_now, n_idle = min(n_now, group.max), min(n_idle, n_now)
    n = wanted(group, n_tasks, n_now, n_idle)
    assert group.min <= n <= group.max
    assert n >= n_now - n_idle
    assert n >= min(n_tasks, group.max)


def test_a_group_comes_to_rest_at_its_least():
    group = Group(min=2, max=9)
    n = wanted(group, 100, 2, 0)
    assert n == 9
    assert wanted(group, 0, n, 9) == 2


def rendered(kind):
    profile = read_profile(ROOT / "deploy" / "clusters" / "slurm.toml")
    profile = profile.model_copy(
        update={
            "shared_folder": Path("/shared/segpipe"),
            "python": "/shared/venv/bin/python",
        }
    )
    folder = Path("/shared/segpipe")
    tls = Tls(ca=folder / ".ca", cert=folder / ".cert", key=folder / ".key")
    spec = job(profile, tls, import_module("dask_jobqueue.slurm"), kind)
    options = spec["options"] | {"log_directory": None}  # it would be made
    return spec["cls"]("tls://10.0.0.1:8786", name=f"{kind}-0", **options).job_script()


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_job_script_is_as_it_was(kind):
    assert rendered(kind) == (GOLDEN / f"slurm-{kind}.sh").read_text()


def test_jobs_ask_for_what_the_profile_says_and_name_certificates_by_path():
    cpu, gpu = rendered("cpu"), rendered("gpu")
    assert "#SBATCH --cpus-per-task=8\n#SBATCH --mem=24G" in cpu
    assert "--nthreads 1 --memory-limit 3.00GiB --nworkers 8" in cpu
    assert "--gres" not in cpu
    assert "GPU=1" not in cpu
    assert "#SBATCH --gres=gpu:1" in gpu
    assert "--resources GPU=1" in gpu
    for script in (cpu, gpu):
        assert "dask_worker tls://10.0.0.1:8786" in script
        assert "--protocol tls://" in script
        assert "--tls-key /shared/segpipe/.key" in script
        assert "PRIVATE KEY" not in script
        assert "export OMP_NUM_THREADS=1" in script


@pytest.fixture(scope="module")
def pods():
    return read_profile(ROOT / "deploy" / "clusters" / "kubernetes.toml")


@pytest.fixture(scope="module")
def manifests(pods):
    return [cluster_manifest(pods, "tiny"), gpu_manifest(pods, pods.gpu, "tiny")]


@cache
def crd_schema(kind):
    """Return the schema that the operator registers for its objects."""
    package = Path(import_module("dask_kubernetes").__file__).parent
    chart = package / "operator" / "deployment" / "helm" / "dask-kubernetes-operator"
    found = yaml.safe_load((chart / "crds" / f"{kind.lower()}.yaml").read_text())
    return found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def as_pods(manifests):
    """Return the pods and the service that the operator makes of manifests."""
    cluster, group = (manifest["spec"] for manifest in manifests)
    specs = [
        cluster["scheduler"]["spec"],
        cluster["worker"]["spec"],
        group["worker"]["spec"],
    ]
    head = {"apiVersion": "v1", "metadata": {"name": "tiny"}}
    service = head | {"kind": "Service", "spec": cluster["scheduler"]["service"]}
    return [*(head | {"kind": "Pod", "spec": spec} for spec in specs), service]


def test_manifests_are_what_kubernetes_and_the_operator_take(manifests):
    jsonschema = import_module("jsonschema")
    for manifest in manifests:
        jsonschema.validate(manifest, crd_schema(manifest["kind"]))
        broken = {**manifest, "spec": {**manifest["spec"], "worker": {"replicas": "3"}}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, crd_schema(manifest["kind"]))
    for made in as_pods(manifests):
        kubernetes_validate.validate(made, "1.31", strict=True)


def test_pods_use_tls_and_run_without_rights(manifests):
    *specs, service = as_pods(manifests)
    assert [port["port"] for port in service["spec"]["ports"]] == [8786]
    for made in specs:
        (container,) = made["spec"]["containers"]
        said = " ".join(container["args"])
        assert "--tls-ca-file /etc/segpipe/tls/ca.crt" in said
        assert "tcp://" not in said
        assert made["spec"]["securityContext"]["runAsNonRoot"]
        assert not made["spec"]["automountServiceAccountToken"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "nvidia.com/gpu" in json.dumps(specs[2])
    assert "nvidia.com/gpu" not in json.dumps(specs[:2])


def test_an_unknown_provider_lists_those_there_are():
    with pytest.raises(SettingsError, match="address, kubernetes, local, slurm"):
        provider_named("pbs")
