"""The nuclei of a slide before they are measured: whose they are, and their names.

Plain arrays on disk, written row by row of tiles and memory-mapped by workers, so that
nobody holds more of them than the tiles at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from segpipe.errors import StoreDamaged
from segpipe.labels.records import ANCHOR, N_COLUMNS, InstanceRecords
from segpipe.stages.plan import Plan
from segpipe.stages.stored import NUCLEI_INDEX
from segpipe.stitching.ranking import Ranked
from segpipe.stores.durable import replacing
from segpipe.stores.layout import Layout
from segpipe.stores.sealed import seal, sealed_size


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiIndex:
    """The nuclei of a slide, and what each tile's instances are called now."""

    starts: NDArray[np.int64]
    """(n_tiles + 1,) int64: tile i names ``lookup[starts[i]:starts[i + 1]]``."""
    nuclei: InstanceRecords
    """(N, N_COLUMNS) int64: row i is nucleus i + 1, ascending in anchor."""
    lookup: NDArray[np.uint32]
    """(M,) uint32: nucleus id of each instance of all tiles in a row; 0 if dropped."""

    def names_of(self, block: int) -> NDArray[np.uint32]:
        """Return the nucleus id of each local id of a tile; entry 0 is background."""
        names = self.lookup[self.starts[block] : self.starts[block + 1]]
        renamed: NDArray[np.uint32] = np.zeros(len(names) + 1, np.uint32)
        renamed[1:] = names
        return renamed

    def owned_by(self, plan: Plan, tile: int) -> NDArray[np.uint32]:
        """Return the ids of the nuclei anchored in a tile's core, ascending."""
        core, width = plan.tiles.core(tile), plan.canvas.shape[1]
        anchors = self.nuclei[:, ANCHOR]
        first, last = np.searchsorted(anchors, [core.y0 * width, core.y1 * width])
        columns = anchors[first:last] % width
        inside = (columns >= core.x0) & (columns < core.x1)
        return np.asarray(np.flatnonzero(inside) + first + 1, np.uint32)

    def records_of(self, ids: NDArray[np.uint32]) -> InstanceRecords:
        """Return the records of some nuclei."""
        return np.asarray(self.nuclei[ids.astype(np.int64) - 1])


def write_index(plan: Plan, rows: Iterable[Ranked]) -> None:
    """Write the index durably, as its rows of tiles come."""
    with ExitStack() as stack:
        paths = [
            stack.enter_context(replacing(_path(plan, name)))
            for name in ("starts", "nuclei", "lookup")
        ]
        with ExitStack() as opened:
            starts, nuclei, lookup = (
                opened.enter_context(path.open("wb")) for path in paths
            )
            starts.write(np.int64(0).tobytes())
            n_before = 0
            for row in rows:
                starts.write((n_before + np.cumsum(row.counts)).tobytes())
                nuclei.write(row.nuclei.tobytes())
                lookup.write(row.lookup.tobytes())
                n_before += len(row.lookup)
        for path in paths:
            seal(path)


def read_index(plan: Plan) -> NucleiIndex:
    """Open the index without reading it."""
    return NucleiIndex(
        starts=_mapped(plan, "starts", np.int64),
        nuclei=_mapped(plan, "nuclei", np.dtype((np.int64, N_COLUMNS))),
        lookup=_mapped(plan, "lookup", np.uint32),
    )


def _mapped(plan: Plan, name: str, dtype: DTypeLike) -> NDArray[Any]:
    """Map an array of the index; an empty one can't be mapped."""
    path = _path(plan, name)
    try:
        n_rows = sealed_size(path) // np.dtype(dtype).itemsize
        if n_rows == 0:
            return np.zeros(0, dtype)
        return np.memmap(path, dtype, mode="r", shape=n_rows)
    except (OSError, ValueError) as error:
        message = (
            f"The list of nuclei at {path} can't be read: {error}. Run again: it is "
            "made anew."
        )
        raise StoreDamaged(message, array=NUCLEI_INDEX) from error


def _path(plan: Plan, name: str) -> Path:
    return Layout(plan.out).instances(plan.slide.id) / f"{name}.bin"
