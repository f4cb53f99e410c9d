"""Metadata of OME-Zarr 0.5 (NGFF), as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

VERSION = "0.5"


def multiscale_metadata(
    name: str, axes: Sequence[str], datasets: Sequence[str], mpp: float
) -> dict[str, Any]:
    """Return the ``ome`` attribute of an image whose datasets halve in size.

    Parameters
    ----------
    name
        Name of the image.
    axes
        Names of the axes, slowest first; ``c`` is the channel, the rest are space.
    datasets
        Paths of the levels below the group.
    mpp
        Micrometres per pixel of the first level.
    """
    return {
        "version": VERSION,
        "multiscales": [
            {
                "name": name,
                "axes": [_axis(axis) for axis in axes],
                "datasets": [
                    _dataset(path, axes, mpp * 2**step)
                    for step, path in enumerate(datasets)
                ],
            }
        ],
    }


def label_metadata(name: str, mpp: float) -> dict[str, Any]:
    """Return the ``ome`` attribute of a (Y, X) label image of one level, ``0``."""
    return multiscale_metadata(name, ("y", "x"), ["0"], mpp) | {
        "image-label": {"source": {"image": "../../"}}
    }


def _axis(name: str) -> dict[str, str]:
    if name == "c":
        return {"name": name, "type": "channel"}
    return {"name": name, "type": "space", "unit": "micrometer"}


def _dataset(path: str, axes: Sequence[str], mpp: float) -> dict[str, Any]:
    scale = [1.0 if axis == "c" else mpp for axis in axes]
    transformation = {"type": "scale", "scale": scale}
    return {"path": path, "coordinateTransformations": [transformation]}
