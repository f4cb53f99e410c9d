"""Whether settings and profile agree about GPUs."""

from __future__ import annotations

from segpipe.config import Settings
from segpipe.errors import SettingsError
from segpipe.stages.devices import device_of


def check_gpus(settings: Settings, *, has_gpus: bool) -> None:
    """Refuse batches that no worker could take, and workers that none would be for.

    Raises
    ------
    SettingsError
        If one has GPUs and the other hasn't.
    """
    device = device_of(settings)
    if device == "cpu" and has_gpus:
        message = (
            f"The cluster profile has [gpu] workers, but --device {settings.device} "
            "comes to cpu on this machine. Say --device cuda, or leave [gpu] out."
        )
        raise SettingsError(message)
    if device != "cpu" and not has_gpus:
        message = (
            f"--device {settings.device} comes to {device}, but the cluster profile "
            "has no [gpu] workers. Add them, or say --device cpu."
        )
        raise SettingsError(message)
