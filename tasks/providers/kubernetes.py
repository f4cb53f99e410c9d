"""Workers that the Dask operator of Kubernetes starts: a pod each.

The scheduler is a pod too. Start segpipe in a pod of the same cluster, or elsewhere
with ``port_forward``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from uuid import uuid4

import dask

from segpipe.config import Settings
from tasks.faults import ClusterLost
from tasks.mapping import connected
from tasks.providers._extras import imported
from tasks.providers._gpu import check_gpus
from tasks.providers._kubernetes_profile import KubernetesProfile
from tasks.providers._pods import COMM_PORT, cluster_manifest, gpu_manifest
from tasks.providers._provider import Cluster, Provider
from tasks.providers._scaling import Kind, following_demand
from tasks.providers._specs import SETTINGS, hushed
from tasks.providers._tls import security_of

LOOK_S = 1.0
REMOTE = SETTINGS | {"distributed.comm.timeouts.connect": "30s"}


@contextmanager
def start(profile: KubernetesProfile, settings: Settings) -> Iterator[Cluster]:
    """Have the operator start a scheduler, and workers as there is work."""
    objects = imported("kr8s.objects", extra="kubernetes")
    check_gpus(settings, has_gpus=profile.gpu is not None)
    security = security_of(profile.tls)
    name = f"{profile.name}-{uuid4().hex[:6]}"
    with (
        dask.config.set(REMOTE),
        hushed(),
        _asked_for(profile, name, objects) as groups,
        _reachable(profile, name, objects) as address,
    ):
        cluster = Cluster(
            address=address,
            security=security,
            n_awaited=min(1, sum(pods.min for pods in profile.groups.values())),
            most_threads=sum(pods.max for pods in profile.groups.values()),
            wait_s=profile.wait_s,
        )
        workers = _Workers(
            cluster=cluster,
            groups=groups,
            deployment=objects.Deployment,
            namespace=profile.namespace,
        )
        with following_demand(cluster, profile.groups, workers.resize):
            yield cluster


@dataclass(slots=True, kw_only=True)
class _Workers:
    """Says the operator how many workers there should be."""

    cluster: Cluster
    groups: dict[Kind, Any]
    """The DaskWorkerGroup of each kind."""
    deployment: Any
    """Kind of object that the operator makes for each worker, by the worker's name."""
    namespace: str
    asked: dict[Kind, int] = field(default_factory=dict)

    def resize(
        self, kind: Kind, n: int, *, idle: frozenset[str], present: frozenset[str]
    ) -> None:
        """Raise the number; or end idle workers by name, and then lower it.

        The operator, told a lower number, would end any, if need be at work: it can't
        ask a scheduler behind TLS. So there must be none left for it to end.
        """
        if self.asked.get(kind) == n:
            return
        leaving = sorted(idle)[: max(0, len(present) - n)]
        if leaving:
            with connected(self.cluster) as client:
                client.retire_workers(names=leaving)
            for name in leaving:
                self.deployment(name, namespace=self.namespace).delete()
        self.groups[kind].patch({"spec": {"worker": {"replicas": n}}})
        self.asked[kind] = n


@contextmanager
def _asked_for(
    profile: KubernetesProfile, name: str, objects: ModuleType
) -> Iterator[dict[Kind, Any]]:
    """Have a DaskCluster; yield its worker groups. Deleted, it takes all with it."""
    cluster_class = objects.new_class("DaskCluster", "kubernetes.dask.org/v1")
    group_class = objects.new_class("DaskWorkerGroup", "kubernetes.dask.org/v1")
    cluster = cluster_class(cluster_manifest(profile, name))
    try:
        cluster.create()
    except Exception as error:
        raise ClusterLost(_not_created(profile, error)) from error
    try:
        if profile.gpu is not None:
            group_class(gpu_manifest(profile, profile.gpu, name)).create()
        names: dict[Kind, str] = {"cpu": f"{name}-default", "gpu": f"{name}-gpu"}
        groups = {
            kind: group_class(names[kind], namespace=profile.namespace)
            for kind in profile.groups
        }
        scheduler = objects.Deployment(f"{name}-scheduler", namespace=profile.namespace)
        _wait_for_operator(profile, scheduler, groups.values())
        yield groups
    finally:
        with suppress(Exception):  # there is nothing better to do about it
            cluster.delete()


def _wait_for_operator(
    profile: KubernetesProfile,
    scheduler: Any,  # noqa: ANN401 - kr8s makes its classes at run time
    groups: Iterable[Any],
) -> None:
    """Wait until the operator has made the groups and its scheduler answers."""
    deadline = time.monotonic() + profile.wait_s
    while time.monotonic() < deadline:
        if scheduler.exists() and all(group.exists() for group in groups):
            scheduler.refresh()
            if scheduler.raw.get("status", {}).get("readyReplicas"):
                return
        time.sleep(LOOK_S)
    message = (
        f"{scheduler.name} didn't run within {profile.wait_s:g} s. Is the Dask "
        f"operator there, and can nodes pull {profile.image}? Look at: kubectl -n "
        f"{profile.namespace} describe daskcluster,pods"
    )
    raise ClusterLost(message)


@contextmanager
def _reachable(
    profile: KubernetesProfile, name: str, objects: ModuleType
) -> Iterator[str]:
    service = f"{name}-scheduler"
    if not profile.port_forward:
        yield f"tls://{service}.{profile.namespace}.svc:{COMM_PORT}"
        return
    found = objects.Service.get(service, namespace=profile.namespace)
    with found.portforward(COMM_PORT, local_port="auto") as local_port:
        yield f"tls://127.0.0.1:{local_port}"


def _not_created(profile: KubernetesProfile, error: Exception) -> str:
    said = " ".join(str(error).split())
    return (
        f"Kubernetes didn't make a DaskCluster in {profile.namespace}: {said}. The "
        "Dask operator must be there, and this account may create daskclusters and "
        "daskworkergroups, and delete deployments."
    )


PROVIDER = Provider(profile=KubernetesProfile, start=start)
