"""What Kubernetes is asked for: a DaskCluster and its worker groups, as plain values.

The Dask operator makes pods of them. Its own description of a cluster has no TLS, so
this one is written out: scheduler and workers show certificates from a Secret, nothing
runs as root, and the only other port answers to health checks.
"""

from __future__ import annotations

import json
from typing import Any

from tasks.providers._kubernetes_profile import KubernetesProfile, Pods
from tasks.providers._scaling import Kind
from tasks.providers._specs import WORKER_ENVIRONMENT

API = "kubernetes.dask.org/v1"
TLS_FOLDER = "/etc/segpipe/tls"
COMM_PORT, HEALTH_PORT = 8786, 8787
SCHEDULER_ENVIRONMENT = {
    "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": json.dumps(
        ["distributed.http.health"]
    ),
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "90s",
}


def cluster_manifest(profile: KubernetesProfile, name: str) -> dict[str, Any]:
    """Describe the scheduler and the CPU workers.

    Parameters
    ----------
    profile
        What to ask for.
    name
        Of this run's cluster.
    """
    return {
        "apiVersion": API,
        "kind": "DaskCluster",
        "metadata": {"name": name, "namespace": profile.namespace},
        "spec": {
            "worker": _worker(profile, profile.cpu, name, "cpu"),
            "scheduler": {"spec": _scheduler_pod(profile), "service": _service(name)},
        },
    }


def gpu_manifest(profile: KubernetesProfile, pods: Pods, name: str) -> dict[str, Any]:
    """Describe the GPU workers, a group of their own beside the cluster's."""
    return {
        "apiVersion": API,
        "kind": "DaskWorkerGroup",
        "metadata": {"name": f"{name}-gpu", "namespace": profile.namespace},
        "spec": {
            "cluster": name,
            "worker": _worker(profile, pods, name, "gpu"),
        },
    }


def _worker(
    profile: KubernetesProfile, pods: Pods, name: str, kind: Kind
) -> dict[str, Any]:
    address = f"tls://{name}-scheduler.{profile.namespace}.svc:{COMM_PORT}"
    arguments = ["dask", "worker", address, "--name", "$(DASK_WORKER_NAME)"]
    arguments += ["--nthreads", "1", "--memory-limit", f"{int(pods.memory)}B"]
    arguments += ["--no-dashboard", "--death-timeout", "60", *_tls_arguments()]
    limits = {"cpu": "1", "memory": str(int(pods.memory))}
    if kind == "gpu":
        arguments += ["--resources", "GPU=1"]
        limits |= {"nvidia.com/gpu": "1"}
    container = _container(profile, "worker", arguments, WORKER_ENVIRONMENT) | {
        "resources": {"requests": limits, "limits": limits}
    }
    return {"replicas": pods.min, "spec": _pod(profile, container) | _placed(pods)}


def _scheduler_pod(profile: KubernetesProfile) -> dict[str, Any]:
    arguments = ["dask", "scheduler", "--protocol", "tls", "--port", str(COMM_PORT)]
    arguments += ["--no-dashboard", "--dashboard-address", f":{HEALTH_PORT}"]
    arguments += _tls_arguments()
    probe = {"httpGet": {"port": "health", "path": "/health"}, "periodSeconds": 10}
    limits = {"cpu": "1", "memory": "2Gi"}
    container = _container(profile, "scheduler", arguments, SCHEDULER_ENVIRONMENT) | {
        "resources": {"requests": limits, "limits": limits},
        "ports": [
            {"name": "tcp-comm", "containerPort": COMM_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": probe,
        "livenessProbe": probe | {"initialDelaySeconds": 30, "timeoutSeconds": 10},
    }
    return _pod(profile, container)


def _service(name: str) -> dict[str, Any]:
    return {
        "type": "ClusterIP",
        "selector": {
            "dask.org/cluster-name": name,
            "dask.org/component": "scheduler",
        },
        "ports": [
            {
                "name": "tcp-comm",
                "protocol": "TCP",
                "port": COMM_PORT,
                "targetPort": "tcp-comm",
            }
        ],
    }


def _container(
    profile: KubernetesProfile,
    name: str,
    arguments: list[str],
    environment: dict[str, str],
) -> dict[str, Any]:
    mounts = [{"name": "tls", "mountPath": TLS_FOLDER, "readOnly": True}]
    mounts += [
        {"name": v.claim, "mountPath": str(v.path), "readOnly": v.read_only}
        for v in profile.volumes
    ]
    return {
        "name": name,
        "image": profile.image,
        "args": arguments,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pod(profile: KubernetesProfile, container: dict[str, Any]) -> dict[str, Any]:
    claims = [
        {"name": v.claim, "persistentVolumeClaim": {"claimName": v.claim}}
        for v in profile.volumes
    ]
    tls = {"name": "tls", "secret": {"secretName": profile.tls_secret}}
    return {
        "containers": [container],
        "volumes": [tls, *claims],
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": profile.group_id,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _placed(pods: Pods) -> dict[str, Any]:
    tolerations = [{"key": key, "operator": "Exists"} for key in pods.tolerates]
    return {"nodeSelector": dict(pods.node_selector), "tolerations": tolerations}


def _tls_arguments() -> list[str]:
    files = {"ca-file": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
    pairs = [(f"--tls-{name}", f"{TLS_FOLDER}/{file}") for name, file in files.items()]
    return [word for pair in pairs for word in pair]
