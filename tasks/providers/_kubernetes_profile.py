"""What a cluster profile of Kubernetes may say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import ByteSize, Field

from segpipe.config import Frozen
from tasks.providers._provider import Group, Profile
from tasks.providers._scaling import Kind
from tasks.providers._tls import Tls

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")]


class Pods(Group):
    """Workers of one kind: a pod each, of one core, and one GPU if of that kind."""

    memory: ByteSize
    """Of each; `segpipe plan` says what one needs."""
    node_selector: Mapping[str, str] = {}
    """Labels of the nodes to run on."""
    tolerates: tuple[str, ...] = ()
    """Taints of nodes that don't matter."""


class Volume(Frozen):
    """A shared disk, mounted at the same place in every pod."""

    claim: Name
    """A PersistentVolumeClaim that many nodes can mount."""
    path: PurePosixPath
    """Where; slides and results are named by paths below."""
    read_only: bool = False
    """E.g. for slides."""


class KubernetesProfile(Profile):
    """A Kubernetes cluster with the Dask operator."""

    provider: Literal["kubernetes"] = "kubernetes"
    wait_s: Annotated[float, Field(gt=0)] = 900.0
    """How long nodes and images may take to come."""
    name: Name = "segpipe"
    """Of the DaskCluster; each run adds some letters of its own."""
    namespace: Name
    """Where its pods run."""
    image: str
    """Of scheduler and workers; the same segpipe as here."""
    tls_secret: Name
    """Secret with ca.crt, tls.crt and tls.key, for scheduler and workers."""
    tls: Tls
    """The same, or others of the same CA, for this process."""
    port_forward: bool = False
    """Reach the scheduler through the API server: where this isn't one of the pods."""
    group_id: Annotated[int, Field(ge=1)] = 1000
    """Group that owns files on the volumes."""
    volumes: tuple[Volume, ...] = ()
    """With slides, and with results."""
    cpu: Pods
    """Workers for reading, labelling, measuring, and for the network without a GPU."""
    gpu: Pods | None = None
    """Workers for the network."""

    @property
    def groups(self) -> dict[Kind, Pods]:
        """The pods of each kind there is."""
        cpu: dict[Kind, Pods] = {"cpu": self.cpu}
        return cpu if self.gpu is None else cpu | {"gpu": self.gpu}
