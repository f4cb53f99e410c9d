"""Images, compose file and manifests keep to the rules that the pages promise."""

import asyncio
import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from segpipe.config import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
POOLS = sorted(path.stem for path in (DEPLOY / "pools").glob("*.json"))
EXACT = re.compile(r"^[\w./-]+:(?!latest)[\w.-]*\d+\.\d+[\w.-]*$")
SECRET = re.compile(r"PASSWORD|AUTH_STRING|TOKEN|_KEY$")


def manifests():
    for path in sorted(BASE.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


PODS = {
    manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
    for manifest in manifests()
    if "template" in manifest.get("spec", {})
}
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
OURS = {
    name: service
    for name, service in COMPOSE["services"].items()
    if "segpipe" in service["image"]
}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_as_nobody_in_what_it_can_not_change(name):
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        if name != "deploy":  # it ends
            assert {"readinessProbe", "livenessProbe"} <= set(container)


@pytest.mark.parametrize("name", PODS)
def test_a_secret_is_named_never_written(name):
    for container in PODS[name]["containers"]:
        for variable in container["env"]:
            if SECRET.search(variable["name"]) and "SECRET" not in variable["name"]:
                assert "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_everything_is_denied_that_no_policy_allows():
    policies = {
        manifest["metadata"]["name"]: manifest["spec"]
        for manifest in manifests()
        if manifest["kind"] == "NetworkPolicy"
    }
    default = policies.pop("nothing-but-dns")
    assert default["podSelector"] == {}
    assert set(default["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in default
    peers = [
        peer
        for policy in policies.values()
        for rule in policy.get("ingress", [])
        for peer in rule["from"]
    ]
    assert peers
    assert all("podSelector" in peer for peer in peers)


@pytest.mark.parametrize("name", OURS)
def test_a_container_runs_as_nobody_in_what_it_can_not_change(name):
    service = OURS[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_of_the_host_only_loopback_is_listened_at():
    published = [
        port for one in COMPOSE["services"].values() for port in one.get("ports", ())
    ]
    assert published == ["127.0.0.1:${PREFECT_PORT:-4200}:4200"]
    modes = {one.get("network_mode") for one in COMPOSE["services"].values()}
    assert modes <= {None, "none"}


def test_dask_is_encrypted_and_has_no_way_out():
    for name in ("dask-scheduler", "dask-worker"):
        service = COMPOSE["services"][name]
        assert service["networks"] == ["dask"]
        required = "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"
        assert service["environment"][required] == "true"
        assert "--no-dashboard" in service["command"]
        assert not [part for part in service["command"] if "tcp://" in part]
    assert COMPOSE["networks"]["dask"] == {"internal": True}
    assert "tls" in COMPOSE["services"]["dask-scheduler"]["command"]


def deployed_settings(folder, *names):
    """Return the settings that a compose project gives each deployment.

    Runs the command of its service `deploy`, with a stand-in for `prefect`.
    """
    services = [
        yaml.safe_load((DEPLOY / "compose" / f"{name}.yaml").read_text())["services"]
        for name in names
    ]
    variables = {}
    for each in services:
        variables |= each.get("deploy", {}).get("environment", {})
    *shell, script = services[0]["deploy"]["command"]
    prefect = folder / "prefect"
    prefect.write_text('#!/bin/sh\nfor one; do echo "$one"; done; echo .\n')
    prefect.chmod(0o700)
    said = subprocess.run(
        [*shell, script.replace("$$", "$")],
        env={"PATH": f"{folder}:/usr/bin:/bin", "SETTINGS": variables["SETTINGS"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    calls = [call.splitlines() for call in said.split("\n.\n")]
    given = [call for call in calls if "--params" in call]
    return {
        call[call.index("--name") + 1]: Settings.model_validate(
            json.loads(call[call.index("--params") + 1])["settings"]
        )
        for call in given
    }


@pytest.mark.parametrize(
    ("files", "device"), [(["compose"], "auto"), (["compose", "gpu"], "cuda")]
)
def test_deployments_use_the_workers_that_compose_starts(tmp_path, files, device):
    found = deployed_settings(tmp_path, *files)
    assert set(found) == {"segment-cohort", "segment-slide"}
    for settings in found.values():
        assert settings.scheduler == "tls://dask-scheduler:8786"
        assert settings.device == device


def test_no_secret_has_a_default():
    text = (DEPLOY / "compose" / "compose.yaml").read_text()
    for name in ("PREFECT_AUTH", "POSTGRES_PASSWORD"):
        used = re.findall(rf"\$\{{{name}([^}}]*)\}}", text)
        assert used
        assert all(rest.startswith(":?") for rest in used)
        assert f"\n{name}=\n" in (DEPLOY / "compose" / "env.example").read_text()


def test_images_are_pinned_and_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dockerfile = (DEPLOY / "images" / "Dockerfile").read_text()
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", dockerfile, re.MULTILINE)
    assert EXACT.match(python)
    stages = set(re.findall(r" AS (\S+)$", dockerfile, re.MULTILINE))
    bases = set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))
    assert bases - stages == {"${PYTHON}"}
    assert re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE) == ["10001:10001"]
    assert f'image.version="{project["version"]}"' in dockerfile
    for install in re.findall(r"pip (?:install|wheel).*", dockerfile):
        assert "--no-cache-dir" in install
    ours = f"segpipe:{project['version']}-cpu"
    for pool in POOLS:
        variables = json.loads((DEPLOY / "pools" / f"{pool}.json").read_text())
        default = variables["variables"]["properties"]["image"]["default"]
        assert default == ours
    assert {one["image"] for one in OURS.values()} == {f"${{SEGPIPE_IMAGE:-{ours}}}"}
    postgres = COMPOSE["services"]["postgres"]["image"]
    assert EXACT.match(postgres)
    assert postgres == PODS["postgres"]["containers"][0]["image"]


def test_what_images_add_is_not_pinned_twice():
    def names(path):
        lines = [line for line in path.read_text().splitlines() if "==" in line]
        return {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}

    added = names(DEPLOY / "images" / "constraints-pools.txt")
    assert {"prefect-docker", "prefect-kubernetes"} <= added
    assert added.isdisjoint(names(ROOT / "constraints.txt"))


def chosen(*arguments):
    script = DEPLOY / "pools" / "choose.py"
    command = [sys.executable, script, DEPLOY / "pools" / "kubernetes.json", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_pool_is_given_other_defaults():
    made = json.loads(chosen("image=mine:1.0", "gpus=2").stdout)
    properties = made["variables"]["properties"]
    assert properties["image"]["default"] == "mine:1.0"
    assert properties["gpus"]["default"] == "2"
    refused = chosen("color=red")
    assert refused.returncode == 1
    assert "no variable 'color'" in refused.stderr


def configured(kind, values):
    """Return a run's configuration as the worker of a pool makes it, without an API."""
    name = kind.lower()
    worker = importlib.import_module(f"prefect_{name}.worker")
    template = json.loads((DEPLOY / "pools" / f"{name}.json").read_text())
    make = getattr(worker, f"{kind}WorkerJobConfiguration").from_template_and_values
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        return asyncio.run(make(template, values))


def tool(name, *arguments):
    path = Path(sys.executable).with_name(name)
    command = [str(path), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_linters_find_nothing():
    tool("hadolint", DEPLOY / "images" / "Dockerfile")
    tool("shellcheck", *DEPLOY.rglob("*.sbatch"))
    files = sorted((DEPLOY / "compose").glob("*.yaml"))
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)
    rules = "{extends: default, rules: {line-length: disable, document-start: disable,"
    rules += " braces: disable, brackets: disable, truthy: disable}}"
    tool("yamllint", "--strict", "-d", rules, DEPLOY)


@pytest.mark.slow
@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_overlays_build_to_manifests_that_kubernetes_takes(overlay, tmp_path):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl builds the overlays")
    folder = DEPLOY / "kubernetes" / "overlays" / overlay
    built = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "built.yaml").write_text(built)
    tool("kubernetes-validate", "--strict", tmp_path / "built.yaml")
    by_kind = {
        (one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(built)
    }
    (deploy,) = by_kind["Job", "deploy"]["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one.get("value") for one in deploy["env"]}
    assert EXACT.match(deploy["image"])
    assert deploy["image"].endswith(f"-{overlay}")
    assert variables["IMAGE"] == deploy["image"]
    assert ("gpus=1" in variables["CHOSEN"]) == (overlay == "gpu")
    assert json.loads(variables["SETTINGS"])["workers"] >= 1
    assert by_kind["NetworkPolicy", "nothing-but-dns"]["spec"]["podSelector"] == {}


@pytest.mark.slow
def test_the_base_is_valid_by_itself():
    files = [path for path in BASE.glob("*.yaml") if path.stem != "kustomization"]
    tool("kubernetes-validate", "--strict", *files)


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [None, "1"])
def test_a_run_in_kubernetes_is_a_valid_job(gpus, tmp_path):
    values = {"name": "a-run", "command": "prefect flow-run execute"}
    values |= {"gpus": gpus} if gpus else {}
    job = configured("Kubernetes", values).job_manifest
    job["metadata"] = {"name": "a-run", "namespace": "segpipe"}
    job["spec"]["template"]["spec"]["containers"][0]["args"] = ["prefect"]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(job))))
    tool("kubernetes-validate", tmp_path / "job.yaml")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"].get("nvidia.com/gpu") == gpus


@pytest.mark.slow
def test_a_run_in_docker_is_configured_as_its_worker_takes_it():
    job = configured("Docker", {})
    assert job.container_create_kwargs["user"] == "10001:10001"
    assert job.container_create_kwargs["read_only"] is True
    assert job.privileged is False
