"""What a worker needs before its first batch: one compute thread, and its imports."""

from __future__ import annotations

from distributed import WorkerPlugin
from distributed.worker import Worker


class Readiness(WorkerPlugin):
    """Sent to every worker, also to those that join or are restarted later."""

    name = "segpipe"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - Dask calls it so
        """Import what batches use, and let it compute in one thread."""
        import cv2  # noqa: PLC0415 - in the worker, not in the driver
        import torch  # noqa: PLC0415

        import segpipe.stages.path  # noqa: F401, PLC0415

        cv2.setNumThreads(1)
        torch.set_num_threads(1)
