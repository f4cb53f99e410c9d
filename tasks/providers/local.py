"""Workers of this machine: a process for each core, and one for each GPU."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing import resource_tracker
from typing import Any, Literal

import dask
from distributed import Nanny, Scheduler, SpecCluster
from distributed.system import MEMORY_LIMIT

from segpipe.config import Settings
from segpipe.stages.devices import resolve_device
from segpipe.stages.pricing import default_workers
from tasks.faults import ClusterLost
from tasks.providers._provider import Cluster, Group, Profile, Provider
from tasks.providers._scaling import following_demand, threads_of
from tasks.providers._specs import ONE_THREAD, SETTINGS, Specs, deaf_to_ctrl_c, hushed

DASK_SETTINGS = SETTINGS | {
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.scheduler.allowed-failures": 1,
    # A worker that shows no life for so long, stopped or stuck, loses its batches to
    # others; one that only imports on busy cores must not.
    "distributed.scheduler.worker-ttl": "180s",
    # Loopback answers at once or never, and a dead worker must not be waited for.
    "distributed.comm.timeouts.connect": "5s",
}
LOOPBACK = {
    "host": "127.0.0.1",
    "dashboard": False,
    "dashboard_address": "127.0.0.1:0",  # else port 8787, which may be taken
}
"""Nothing of it is reached from another machine."""
TRIES = 3
"""To start workers of which one dies at once."""
MEMORY_SHARE = 0.9
"""Part of the machine's memory that workers may take together."""


class LocalProfile(Profile):
    """The machine this runs on; the setting ``device`` says whether its GPUs too."""

    provider: Literal["local"] = "local"
    cpu: Group | None = None
    """Workers for cores; by default one for each."""


@contextmanager
def start(profile: LocalProfile, settings: Settings) -> Iterator[Cluster]:
    """Start workers; they end when the block or this process does.

    They listen on loopback only.
    """
    cpu = profile.cpu or _one_for_each(settings.workers or default_workers())
    specs = worker_specs(cpu, settings.device)
    with dask.config.set(DASK_SETTINGS), hushed(), _cluster(specs) as spec_cluster:
        cluster = Cluster(
            address=str(spec_cluster.scheduler_address),
            n_awaited=len(specs),
            most_threads=threads_of({"cpu": cpu}),
            wait_s=profile.wait_s,
        )
        with _growing(cluster, spec_cluster, cpu, settings.device):
            yield cluster


def _one_for_each(n_cores: int) -> Group:
    return Group(min=n_cores, max=n_cores)


def worker_specs(cpu: Group, device: str) -> dict[str, Any]:
    """Describe the workers to begin with by name, as Dask's SpecCluster wants them."""
    gpus = gpu_environments(resolve_device(device))
    memory_bytes = _memory_bytes(cpu.max + len(gpus))
    specs = {f"cpu-{number}": _spec(memory_bytes, {}) for number in range(cpu.min)}
    for number, environment in enumerate(gpus):
        specs[f"gpu-{number}"] = _spec(memory_bytes, environment, GPU=1)
    return specs


def gpu_environments(device: str) -> list[dict[str, str]]:
    """Return the environment of each GPU's worker: it sees that GPU and no other."""
    if device == "cpu":
        return []
    if device != "cuda":
        return [{}]  # a GPU by its number: the worker sees all, and takes that one
    import torch  # noqa: PLC0415 - runs on a CPU need not wait for it

    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = seen.split(",") if seen else map(str, range(torch.cuda.device_count()))
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names]


def _growing(
    cluster: Cluster, spec_cluster: SpecCluster, cpu: Group, device: str
) -> Any:  # noqa: ANN401 - a context manager
    if cpu.min == cpu.max:
        return nullcontext()
    n_gpus = len(gpu_environments(resolve_device(device)))
    spec = partial(_spec, _memory_bytes(cpu.max + n_gpus), {})
    specs = Specs(cluster=spec_cluster, spec=lambda _kind: spec(), per_entry={"cpu": 1})
    return following_demand(cluster, {"cpu": cpu}, specs.resize)


def _memory_bytes(n_workers: int) -> int:
    return int(MEMORY_SHARE * MEMORY_LIMIT / n_workers)


def _spec(
    memory_bytes: int, environment: dict[str, str], **resources: float
) -> dict[str, Any]:
    options = LOOPBACK | {
        "nthreads": 1,
        "memory_limit": memory_bytes,
        "silence_logs": logging.CRITICAL,
        "env": ONE_THREAD | environment,
        "resources": resources,
    }
    return {"cls": Nanny, "options": options}


@contextmanager
def _cluster(specs: dict[str, Any]) -> Iterator[SpecCluster]:
    _start_resource_tracker()
    cluster = _started(specs)
    try:
        yield cluster
    finally:
        _kill_workers(cluster)
        with suppress(TimeoutError):
            cluster.close(timeout=10)


def _started(specs: dict[str, Any]) -> SpecCluster:
    """Start scheduler and workers; if one dies before it is up, all of them again.

    Raises
    ------
    ClusterLost
        If one does every time.
    """
    for _ in range(TRIES - 1):
        with suppress(RuntimeError):  # so Dask says that a process ended
            return _started_once(specs)
    try:
        return _started_once(specs)
    except RuntimeError as error:
        message = (
            f"Dask's processes on this machine died while they started, {TRIES} times: "
            f"{error} Is there memory for {len(specs)} workers? --workers N sets "
            "fewer, and --serial does without."
        )
        raise ClusterLost(message) from error


def _started_once(specs: dict[str, Any]) -> SpecCluster:
    with deaf_to_ctrl_c():
        return SpecCluster(
            scheduler={"cls": Scheduler, "options": LOOPBACK | {"port": 0}},
            workers=specs,
            silence_logs=logging.CRITICAL,
            name="segpipe",
        )


def _kill_workers(cluster: SpecCluster) -> None:
    """End the workers at once: what they finished is on disk.

    Asked politely they take seconds, and a batch that hangs would be waited for.
    """
    for nanny in cluster.workers.values():
        nanny.close_gracefully(reason="segpipe-ends")  # and don't start another
        if nanny.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


def _start_resource_tracker() -> None:
    """Start multiprocessing's tracker without its warning.

    It removes the semaphores that killed workers leave, and would say so on stderr.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker:UserWarning"
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


PROVIDER = Provider(profile=LocalProfile, start=start)
