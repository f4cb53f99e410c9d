"""Workers that SLURM starts: each job runs one or several, and goes when idle.

The scheduler runs here, so start segpipe where jobs can reach it and `sbatch` exists:
on a login node, or in a small job of its own. Jobs are rendered by dask-jobqueue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import dask
from distributed import Scheduler, SpecCluster
from distributed.security import Security
from pydantic import ByteSize, Field, field_validator

from segpipe.config import Settings
from segpipe.errors import SettingsError
from tasks.faults import ClusterLost
from tasks.providers._extras import imported
from tasks.providers._gpu import check_gpus
from tasks.providers._provider import (
    Cluster,
    Group,
    NearPath,
    Profile,
    Provider,
)
from tasks.providers._scaling import Kind, following_demand
from tasks.providers._specs import (
    SETTINGS,
    WORKER_ENVIRONMENT,
    Specs,
    deaf_to_ctrl_c,
    hushed,
)
from tasks.providers._tls import Tls, security_of, worker_files

RETIRE_S = 300
"""So long before its job's end a worker takes no more batches, and ends by itself."""
REMOTE = SETTINGS | {
    "distributed.scheduler.allowed-failures": 3,  # nodes also die without our doing
    "distributed.scheduler.worker-ttl": "90s",
    "distributed.comm.timeouts.connect": "30s",
}


class Jobs(Group):
    """Jobs of one kind."""

    memory: ByteSize
    """Of each worker; `segpipe plan` says what one needs."""
    workers_per_job: Annotated[int, Field(ge=1, le=512)] = 1
    """Processes, each of one thread."""
    hours: Annotated[float, Field(gt=0.2, le=24 * 30)] = 4.0
    """Time limit of a job. Another one follows while there is work."""
    queue: str | None = None
    """Partition."""
    account: str | None = None
    """Account."""
    directives: tuple[str, ...] = ()
    """Further arguments of sbatch, e.g. ``--gres=gpu:1``."""


class SlurmProfile(Profile):
    """A SLURM cluster."""

    provider: Literal["slurm"] = "slurm"
    wait_s: Annotated[float, Field(gt=0)] = 86400.0
    """How long jobs may be queued."""
    interface: str | None = None
    """Network interface that scheduler and workers use, e.g. ``ib0``."""
    host: str | None = None
    """Address the scheduler listens at instead, where the interface won't do."""
    shared_folder: NearPath
    """Seen by all nodes: logs of jobs, and the workers' certificates while they run."""
    python: str | None = None
    """Python of the nodes that has segpipe; by default the path of this one."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the worker starts, e.g. ``module load cuda``."""
    tls: Tls | None = None
    """Certificates; by default made for this run, and gone after it."""
    cpu: Jobs
    """Workers for reading, labelling, measuring, and for the network without a GPU."""
    gpu: Jobs | None = None
    """Workers for the network."""

    @field_validator("gpu")
    @classmethod
    def _one_gpu_each(cls, gpu: Jobs | None) -> Jobs | None:
        if gpu is not None and gpu.workers_per_job != 1:
            message = "a GPU job has one worker and one GPU; raise max for more"
            raise ValueError(message)
        return gpu

    @property
    def groups(self) -> dict[Kind, Jobs]:
        """The jobs of each kind there is."""
        cpu: dict[Kind, Jobs] = {"cpu": self.cpu}
        return cpu if self.gpu is None else cpu | {"gpu": self.gpu}


@contextmanager
def start(profile: SlurmProfile, settings: Settings) -> Iterator[Cluster]:
    """Start a scheduler here, and jobs of workers as there is work."""
    jobqueue = imported("dask_jobqueue.slurm", extra="slurm")
    check_gpus(settings, has_gpus=profile.gpu is not None)
    folder = _made(profile.shared_folder)
    security = security_of(profile.tls) if profile.tls else Security.temporary()
    with (
        dask.config.set(REMOTE),
        hushed(),
        worker_files(security, folder) as tls,
        _cluster(profile, security, partial(job, profile, tls, jobqueue)) as specs,
    ):
        cluster = Cluster(
            address=str(specs.cluster.scheduler_address),
            security=security,
            n_awaited=min(1, sum(jobs.min for jobs in profile.groups.values())),
            most_threads=sum(jobs.max for jobs in profile.groups.values()),
            wait_s=profile.wait_s,
        )
        with following_demand(cluster, profile.groups, specs.resize):
            yield cluster


def job(
    profile: SlurmProfile, tls: Tls, jobqueue: ModuleType, kind: Kind
) -> dict[str, Any]:
    """Describe a job, as SpecCluster wants it; the certificates go by their paths."""
    jobs = profile.groups[kind]
    memory = jobs.memory * jobs.workers_per_job
    options: dict[str, Any] = {
        "queue": jobs.queue,
        "account": jobs.account,
        "walltime": _clock(3600 * jobs.hours),
        "cores": jobs.workers_per_job,
        "processes": jobs.workers_per_job,
        "memory": f"{memory}B",
        "job_name": f"segpipe-{kind}",
        "job_extra_directives": list(jobs.directives),
        "log_directory": str(profile.shared_folder),
        "python": profile.python,
        "interface": profile.interface,
        "protocol": "tls://",
        "security": security_of_paths(tls),
        "job_script_prologue": [*_exports(), *profile.prologue],
        "worker_extra_args": _worker_arguments(jobs, kind),
    }
    spec: dict[str, Any] = {"cls": jobqueue.SLURMJob, "options": options}
    if jobs.workers_per_job > 1:
        spec["group"] = [f"-{number}" for number in range(jobs.workers_per_job)]
    return spec


def security_of_paths(tls: Tls) -> Security:
    """Return the paths of certificates in Dask's terms, unread."""
    return Security(
        require_encryption=True,
        tls_ca_file=str(tls.ca),
        tls_worker_cert=str(tls.cert),
        tls_worker_key=str(tls.key),
    )


def _worker_arguments(jobs: Jobs, kind: Kind) -> list[str]:
    lifetime_s = round(3600 * jobs.hours) - RETIRE_S
    arguments = ["--no-dashboard", "--lifetime", f"{lifetime_s}s"]
    arguments += ["--lifetime-stagger", f"{RETIRE_S // 2}s"]
    return [*arguments, "--resources", "GPU=1"] if kind == "gpu" else arguments


def _exports() -> list[str]:
    return [f"export {name}={value}" for name, value in WORKER_ENVIRONMENT.items()]


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = (
            f"shared_folder {folder} can't be made ({error}). Name one that this "
            "machine can write and every node can read."
        )
        raise SettingsError(message) from error
    return folder


@contextmanager
def _cluster(
    profile: SlurmProfile,
    security: Security,
    spec: Any,  # noqa: ANN401 - a partial
) -> Iterator[Specs]:
    options: dict[str, Any] = {
        "protocol": "tls://",
        "security": security,
        "port": 0,
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }
    options |= {"host": profile.host} if profile.host else {}
    options |= {"interface": profile.interface} if profile.interface else {}
    per_job: Mapping[Kind, int] = {
        kind: jobs.workers_per_job for kind, jobs in profile.groups.items()
    }
    first = {
        f"{kind}-{number}": spec(kind)
        for kind, jobs in profile.groups.items()
        for number in range(-(-jobs.min // jobs.workers_per_job))
    }
    try:
        with deaf_to_ctrl_c():
            cluster = SpecCluster(
                scheduler={"cls": Scheduler, "options": options},
                workers=first,
                security=security,
                name="segpipe",
            )
    except (OSError, RuntimeError) as error:
        raise ClusterLost(_not_submitted(error)) from error
    try:
        yield Specs(cluster=cluster, spec=spec, per_entry=per_job)
    finally:
        with suppress(TimeoutError):
            cluster.close(timeout=60)  # cancels every job


def _not_submitted(error: Exception) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError):
        return f"{said}: there is no sbatch here. Run segpipe on a login node."
    return f"SLURM didn't take a job, or the scheduler didn't start: {said}"


PROVIDER = Provider(profile=SlurmProfile, start=start)
