"""Named arrays in one sealed file, in the format of safetensors: no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from segpipe.stores.sealed import read_sealed, write_sealed

Arrays = dict[str, NDArray[Any]]


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays to a file, durably."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_sealed(path, save(whole))


def read_arrays(path: Path) -> Arrays:
    """Read what `write_arrays` wrote; the arrays can't be written to.

    Raises
    ------
    OSError
        If it can't be read.
    ValueError
        If it isn't what was written.
    """
    try:
        arrays: Arrays = load(read_sealed(path))
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    for array in arrays.values():
        array.setflags(write=False)
    return arrays
