"""OME-Zarr (NGFF) 0.4 and 0.5 pyramids of 8-bit RGB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from segpipe.arrays import RGB
from segpipe.errors import SlideCorrupt, SlideUnsupported
from segpipe.geometry import Box
from segpipe.slides._protocol import Reader, Slide
from segpipe.slides._pyramid import Fetch, PyramidSlide, levels_of
from segpipe.slides._resolution import UM_PER_UNIT, UNSTATED, Resolution, judged, number
from segpipe.slides._translation import translated
from segpipe.slides._zarr_chunks import guarded, refuse_long_metadata

MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
"""A folder with one of these is a zarr hierarchy of version 3 or 2."""
RGB_COLOURS = ("FF0000", "00FF00", "0000FF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiscale:
    """The first pyramid that an OME-Zarr describes."""

    group: zarr.Group
    axes: tuple[str, ...]
    """Names in the order of the arrays."""
    units: Mapping[str, str]
    """Unit of each axis that has one."""
    paths: tuple[str, ...]
    """Arrays from fine to coarse."""
    scale: tuple[float, ...]
    """Size of an element of the finest array along each axis."""
    colours: tuple[str, ...]
    """Display colour of each channel as RRGGBB; empty if none is stated."""


def claims(path: Path) -> bool:
    """Whether the folder is a zarr hierarchy."""
    return path.is_dir() and any((path / mark).is_file() for mark in MARKS)


def open_omezarr(path: Path) -> Slide:
    """Open the first pyramid of an OME-Zarr.

    Raises
    ------
    SlideUnsupported
        If there is no OME-NGFF metadata or the arrays aren't 8-bit RGB.
    SlideCorrupt
        If the metadata contradict themselves or a described array is missing.
    SlideTooLarge
        If the pyramid or its chunks are larger than is sane.
    """
    multiscale = _multiscale(path)
    with translated(path, f"open its arrays {', '.join(multiscale.paths)}"):
        arrays = [_array(path, multiscale.group, p) for p in multiscale.paths]
    _refuse_other_than_rgb(path, multiscale, arrays)
    y, x = (multiscale.axes.index(axis) for axis in "yx")
    with translated(path, "look at how its chunks are packed"):
        arrays = [guarded(path, array, y, x) for array in arrays]
    resolution = _resolution(multiscale)
    return PyramidSlide(
        path=path,
        levels=levels_of(path, [(a.shape[y], a.shape[x]) for a in arrays]),
        mpp=resolution.mpp,
        properties={"format": "OME-Zarr", "axes": "".join(multiscale.axes)}
        | resolution.properties(),
        fetch=_fetch(arrays, multiscale.axes),
        release=lambda: None,
    )


def _multiscale(path: Path) -> Multiscale:
    with translated(path, "read its zarr metadata"):
        refuse_long_metadata(path)
        root = zarr.open(path, mode="r")
    group = root if isinstance(root, zarr.Group) else None
    attributes = _ome(group)
    if group is not None and "bioformats2raw.layout" in attributes:
        with translated(path, "open its first image, 0"):
            group = zarr.open_group(path / "0", mode="r")
        attributes = _ome(group)
    if group is None or not attributes.get("multiscales"):
        message = (
            f"{path} is a zarr folder without OME-NGFF 'multiscales' at its root, so "
            "it is no picture that segpipe knows. Give the folder of the image itself."
        )
        raise SlideUnsupported(message)
    try:
        return _described(group, attributes)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        message = (
            f"{path} has OME-NGFF metadata that can't be followed "
            f"({type(error).__name__}: {error}). Write them again."
        )
        raise SlideCorrupt(message) from error


def _ome(group: zarr.Group | None) -> Mapping[str, Any]:
    """Return the OME attributes, which 0.5 keeps under ``ome`` and 0.4 at the top."""
    attributes: Mapping[str, Any] = {} if group is None else group.attrs.asdict()
    nested = attributes.get("ome", attributes)
    return nested if isinstance(nested, Mapping) else {}


def _described(group: zarr.Group, attributes: Mapping[str, Any]) -> Multiscale:
    pyramid = attributes["multiscales"][0]
    axes = pyramid["axes"]
    datasets = pyramid["datasets"]
    transforms = (
        *datasets[0].get("coordinateTransformations", ()),
        *pyramid.get("coordinateTransformations", ()),
    )
    channels = attributes.get("omero", {}).get("channels", ())
    return Multiscale(
        group=group,
        axes=tuple(str(axis["name"]) for axis in axes),
        units={str(axis["name"]): str(axis.get("unit", "")) for axis in axes},
        paths=tuple(str(dataset["path"]) for dataset in datasets),
        scale=_scale(len(axes), transforms),
        colours=tuple(str(c.get("color", "")).upper() for c in channels),
    )


def _scale(n_axes: int, transforms: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """Multiply the scales that apply one after the other."""
    scales = [t["scale"] for t in transforms if t["type"] == "scale"]
    return tuple(math.prod(number(s[axis]) for s in scales) for axis in range(n_axes))


def _array(path: Path, group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        message = f"{path} describes {name} as a level, but it is a group."
        raise SlideCorrupt(message)
    return array


def _refuse_other_than_rgb(
    path: Path, multiscale: Multiscale, arrays: Sequence[zarr.Array[Any]]
) -> None:
    shape, dtype, axes = arrays[0].shape, arrays[0].dtype, multiscale.axes
    sizes = dict(zip(axes, shape, strict=False))
    is_picture = (
        {"y", "x"} <= set(axes)
        and sizes.pop("c", 0) == 3
        and all(size == 1 for axis, size in sizes.items() if axis not in "yx")
        and all(len(a.shape) == len(axes) and a.dtype == np.uint8 for a in arrays)
    )
    is_dyed = len(set(multiscale.colours)) == 3 and multiscale.colours != RGB_COLOURS
    if is_picture and not is_dyed:
        return
    shown = f" and channel colours {multiscale.colours}" if is_dyed else ""
    message = (
        f"{path} has axes {''.join(axes)} of {shape}, type {dtype}{shown}: not one "
        "plane of H&E in 8-bit RGB. segpipe reads y, x and a c of 3 (red, green, "
        "blue), other axes of size 1; fluorescence and stacks it doesn't."
    )
    raise SlideUnsupported(message)


def _resolution(multiscale: Multiscale) -> Resolution:
    """Judge the scale of the finest array, if its axes have a unit of length."""
    y, x = (multiscale.axes.index(axis) for axis in "yx")
    units = [UM_PER_UNIT.get(multiscale.units[axis]) for axis in "yx"]
    if units[0] is None or units[1] is None:
        return UNSTATED
    return judged(multiscale.scale[y] * units[0], multiscale.scale[x] * units[1])


def _fetch(arrays: Sequence[zarr.Array[Any]], axes: tuple[str, ...]) -> Fetch:
    kept = [axis for axis in axes if axis in "yxc"]
    order = [kept.index(axis) for axis in "yxc"]

    def fetch(box: Box, level: int) -> RGB:
        rows, columns = box.slices()
        where = {"y": rows, "x": columns, "c": slice(None)}
        pixels = arrays[level][tuple(where.get(axis, 0) for axis in axes)]
        return np.asarray(pixels).transpose(order)

    return fetch


READER = Reader(
    name="omezarr",
    formats=("OME-Zarr 0.4", "OME-Zarr 0.5"),
    suffixes=(".zarr",),
    priority=10,
    claims=claims,
    open=open_omezarr,
)
