"""The nuclei of a slide before they are measured: whose they are, and their names.

Three memory-mapped arrays, so a worker reads only the rows of its tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from segpipe.labels.records import ANCHOR, InstanceRecords
from segpipe.stages.plan import Plan
from segpipe.stitching.ranking import Ranking
from segpipe.stores.durable import replacing
from segpipe.stores.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiIndex:
    """The ranking of a slide, and where each tile's block of local ids starts in it."""

    starts: NDArray[np.int64]
    """(n_tiles + 1,) int64: block of tile i is ``starts[i]:starts[i + 1]``."""
    ranking: Ranking
    """Nuclei and names."""

    def names_of(self, block: int) -> NDArray[np.uint32]:
        """Return the nucleus id of each local id of a tile; entry 0 is background."""
        names = self.ranking.lookup[self.starts[block] : self.starts[block + 1]]
        renamed: NDArray[np.uint32] = np.zeros(len(names) + 1, np.uint32)
        renamed[1:] = names
        return renamed

    def owned_by(self, plan: Plan, tile: int) -> NDArray[np.uint32]:
        """Return the ids of the nuclei anchored in a tile's core, ascending."""
        core, width = plan.tiles.core(tile), plan.canvas.shape[1]
        anchors = self.ranking.nuclei[:, ANCHOR]
        first, last = np.searchsorted(anchors, [core.y0 * width, core.y1 * width])
        columns = anchors[first:last] % width
        inside = (columns >= core.x0) & (columns < core.x1)
        return np.asarray(np.flatnonzero(inside) + first + 1, np.uint32)

    def records_of(self, ids: NDArray[np.uint32]) -> InstanceRecords:
        """Return the records of some nuclei."""
        return np.asarray(self.ranking.nuclei[ids.astype(np.int64) - 1])


def write_index(plan: Plan, index: NucleiIndex) -> None:
    """Write the index, durably."""
    ranking = index.ranking
    dropped = np.array([ranking.n_too_small, ranking.n_too_large], np.int64)
    for name, array in (
        ("starts", index.starts),
        ("nuclei", ranking.nuclei),
        ("lookup", ranking.lookup),
        ("dropped", dropped),
    ):
        with replacing(_path(plan, name)) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)


def read_index(plan: Plan) -> NucleiIndex:
    """Open the index without reading it."""
    n_too_small, n_too_large = np.load(_path(plan, "dropped"), allow_pickle=False)
    ranking = Ranking(
        nuclei=_mapped(plan, "nuclei"),
        lookup=_mapped(plan, "lookup"),
        n_too_small=int(n_too_small),
        n_too_large=int(n_too_large),
    )
    return NucleiIndex(starts=_mapped(plan, "starts"), ranking=ranking)


def _mapped(plan: Plan, name: str) -> NDArray[Any]:
    """Map an array of the index; an empty one can't be mapped and is read."""
    path = _path(plan, name)
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
    mode: Literal["r"] | None = "r" if np.prod(shape) else None
    return cast("NDArray[Any]", np.load(path, mmap_mode=mode, allow_pickle=False))


def _path(plan: Plan, name: str) -> Path:
    return Layout(plan.out).instances(plan.slide.id) / f"{name}.npy"
