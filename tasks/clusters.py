"""Where the workers are: this machine's own, or those of a scheduler at an address."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster, WorkerPlugin
from distributed.system import MEMORY_LIMIT
from distributed.worker import Worker

from segpipe.config import Settings
from segpipe.errors import SettingsError
from segpipe.stages.devices import resolve_device
from segpipe.stages.pricing import default_workers
from tasks.faults import ClusterLost
from tasks.mapping import connected

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
    ),
    "1",
)
"""A worker computes in one thread; there are as many workers as cores."""

LOCAL = {
    "distributed.worker.multiprocessing-method": "spawn",
    # Batches return receipts, so memory a worker holds is its own, not Dask's to spill;
    # a pause would wait for what never shrinks.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.allowed-failures": 1,
    "distributed.comm.timeouts.connect": "5s",
}
"""Dask settings of this machine's own workers."""

_address: ContextVar[str | None] = ContextVar("segpipe_scheduler", default=None)


@contextmanager
def workers(settings: Settings) -> Iterator[str]:
    """Have workers, and yield their scheduler's address.

    Inside another such block, that one's workers: a cohort starts them once.

    Raises
    ------
    SettingsError
        If ``settings.scheduler`` is refused; see `checked_address`.
    ClusterLost
        If workers can't be had.
    """
    if (enclosing := _address.get()) is not None:
        yield enclosing
        return
    source = _remote(settings.scheduler) if settings.scheduler else _local(settings)
    with source as address:
        token = _address.set(address)
        try:
            yield address
        finally:
            _address.reset(token)


def current_address() -> str:
    """Return the address that the enclosing `workers` block yielded.

    Raises
    ------
    LookupError
        Outside such a block.
    """
    address = _address.get()
    if address is None:
        message = "No workers here: call this inside `with workers(settings):`."
        raise LookupError(message)
    return address


def checked_address(address: str) -> str:
    """Return the address of a scheduler if it may be connected to.

    Raises
    ------
    SettingsError
        If it isn't ``tcp://host:port`` or ``tls://host:port``, or is ``tcp`` to
        another machine: whoever reaches an unencrypted scheduler runs code on its
        workers, and whoever listens in reads it.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"tcp", "tls"} or not parts.hostname or not _port(address):
        message = (
            f"--scheduler {address} is no scheduler address. It looks like "
            "tcp://127.0.0.1:8786 or tls://host:8786."
        )
        raise SettingsError(message)
    if parts.scheme == "tcp" and not _is_loopback(parts.hostname):
        message = (
            f"--scheduler {address} is on another machine and not encrypted: anyone who "
            "reaches an open scheduler runs code on its workers. Start it with TLS "
            "certificates and use tls://, or use a scheduler on this machine."
        )
        raise SettingsError(message)
    return address


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _remote(address: str) -> Iterator[str]:
    with connected(checked_address(address)) as client:
        _prepare(client, n_workers=1)
    yield address


@contextmanager
def _local(settings: Settings) -> Iterator[str]:
    with dask.config.set(LOCAL), _cluster(_worker_specs(settings)) as cluster:
        address = str(cluster.scheduler_address)
        with connected(address) as client:
            _prepare(client, n_workers=len(cluster.worker_spec))
        yield address


@contextmanager
def _cluster(worker_specs: dict[str, Any]) -> Iterator[SpecCluster]:
    scheduler = {"host": "127.0.0.1", "port": 0, "dashboard": False}
    with _hushed():
        cluster = SpecCluster(
            scheduler={"cls": Scheduler, "options": scheduler},
            workers=worker_specs,
            silence_logs=logging.CRITICAL,
            name="segpipe",
        )
        try:
            yield cluster
        finally:
            _kill_workers(cluster)
            with suppress(TimeoutError):
                cluster.close(timeout=10)


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep Dask's own log to itself: what matters is raised or told to the listener."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _kill_workers(cluster: SpecCluster) -> None:
    """End this machine's workers at once: what they finished is on disk.

    Asked politely they take seconds, and a batch that hangs would be waited for.
    """
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


def _worker_specs(settings: Settings) -> dict[str, Any]:
    """Describe this machine's workers: one for each core, and one more for each GPU."""
    n_workers = settings.workers or default_workers()
    gpus = _gpus(resolve_device(settings.device))
    memory_bytes = int(0.9 * MEMORY_LIMIT / (n_workers + len(gpus)))
    specs = {f"cpu-{number}": _spec(memory_bytes) for number in range(n_workers)}
    for number, environment in enumerate(gpus):
        specs[f"gpu-{number}"] = _spec(memory_bytes, environment, GPU=1)
    return specs


def _spec(
    memory_bytes: int, environment: dict[str, str] | None = None, **resources: float
) -> dict[str, Any]:
    options = {
        "host": "127.0.0.1",
        "nthreads": 1,
        "memory_limit": memory_bytes,
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
        "env": ONE_THREAD | (environment or {}),
        "resources": resources,
    }
    return {"cls": Nanny, "options": options}


def _gpus(device: str) -> list[dict[str, str]]:
    """Return the environment of each GPU's worker: it sees that GPU and no other."""
    if device == "cpu":
        return []
    if device != "cuda":
        return [{}]  # a GPU by number: its worker sees all, and takes that one
    import torch  # noqa: PLC0415  a second of import that CPU runs don't need

    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = seen.split(",") if seen else map(str, range(torch.cuda.device_count()))
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names]


def _prepare(client: Client, *, n_workers: int) -> None:
    """Wait for workers, and make each ready for batches.

    Raises
    ------
    ClusterLost
        If they don't come within a minute.
    """
    try:
        client.register_plugin(Readiness(), name="segpipe")
        client.wait_for_workers(n_workers, timeout=60)
    except TimeoutError as error:
        found = len(client.scheduler_info()["workers"])
        message = (
            f"{found} of {n_workers} Dask workers came up within 60 s. Look at their "
            "logs, or run with --serial to work without them."
        )
        raise ClusterLost(message) from error


class Readiness(WorkerPlugin):
    """What a worker of ours needs: one compute thread, quiet logs, imports done."""

    def setup(self, worker: Worker) -> None:
        """Do it once, when the worker joins."""
        import cv2  # noqa: PLC0415  in the worker, not in the driver
        import torch  # noqa: PLC0415

        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        import segpipe.stages.path  # noqa: F401, PLC0415
