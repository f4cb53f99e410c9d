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
        If a GPU is asked for and none can be used, or none of that number.
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
    number = int(asked.partition(":")[2] or 0)
    if asked.startswith("cuda") and number >= (n_gpus := torch.cuda.device_count()):
        message = (
            f"--device {asked} was asked for, but of the {n_gpus} GPUs that torch sees "
            f"here the last is cuda:{n_gpus - 1}. Name one of them, or use --device "
            "cuda, all of them."
        )
        raise SettingsError(message)
    return asked


def kind_of(device: str) -> str:
    """Return ``cpu`` or ``cuda``: what results depend on, whichever GPU it is."""
    return device.partition(":")[0]


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
