"""Where the network runs."""

from __future__ import annotations

import os

import torch

from segpipe.config import Settings
from segpipe.errors import SettingsError


def resolve_device(asked: str) -> str:
    """Turn ``auto`` into ``cuda`` or ``cpu``, and refuse a GPU that isn't there.

    Asks the driver without starting CUDA in this process.

    Raises
    ------
    SettingsError
        If a GPU is asked for and none can be used.
    """
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    available = torch.cuda.is_available()
    if asked == "auto":
        return "cuda" if available else "cpu"
    if asked.startswith("cuda") and not available:
        message = (
            f"--device {asked} was asked for, but torch {torch.__version__} sees no "
            "GPU. Use --device auto or cpu, or install a CUDA build of torch."
        )
        raise SettingsError(message)
    return asked


def device_of(settings: Settings) -> str:
    """Return where the network runs for these settings.

    A GPU that is asked for may be that of workers elsewhere: this machine needs none.
    ``auto`` looks here only.

    Raises
    ------
    SettingsError
        If a GPU is asked for, workers are to be this machine's, and it has none.
    """
    elsewhere = settings.scheduler is not None or settings.cluster is not None
    if elsewhere and settings.device.startswith("cuda"):
        return settings.device
    return resolve_device(settings.device)
