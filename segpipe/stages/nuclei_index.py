"""The nuclei of a slide before they are measured: whose they are, and their names.

A file per block of tiles, and the last id of each band of blocks. Who works on a tile
reads the blocks around it; nobody holds more of the slide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import StoreDamaged
from segpipe.labels.records import ANCHOR, InstanceRecords
from segpipe.stages.plan import Plan
from segpipe.stages.stored import NUCLEI_INDEX
from segpipe.stitching.blocks import Blocks
from segpipe.stitching.joining import BlockNuclei, anchored_in
from segpipe.stitching.ranking import Ids
from segpipe.stores.layout import Layout
from segpipe.stores.sealed_arrays import Arrays, read_arrays, write_arrays


def blocks_of(plan: Plan) -> Blocks:
    """Return the blocks of a plan's tiles."""
    return Blocks(tiles=plan.tiles, reach_px=plan.measure_margin_px)


@dataclass(frozen=True)
class NucleiIndex:
    """The nuclei of a slide, and what each tile's instances are called now."""

    plan: Plan

    @cached_property
    def blocks(self) -> Blocks:
        """The blocks of the slide's tiles."""
        return blocks_of(self.plan)

    @cached_property
    def tissue(self) -> frozenset[int]:
        """Tiles that have instances at all."""
        return frozenset(self.plan.tissue_tiles)

    @cached_property
    def last_ids(self) -> NDArray[np.int64]:
        """(n_bands + 1,) last id above each band of blocks, and that of all."""
        return np.asarray(_read(_bands_path(self.plan))["last_ids"])

    @property
    def n_nuclei(self) -> int:
        """Nuclei of the slide."""
        return int(self.last_ids[-1])

    def with_tissue(self, blocks: Sequence[int]) -> list[int]:
        """Return those of some blocks that hold a tile with tissue."""
        tiles_in = self.blocks.tiles_in
        return [one for one in blocks if not self.tissue.isdisjoint(tiles_in(one))]

    def block(self, block: int) -> BlockNuclei:
        """Read the nuclei of a block."""
        arrays = _read(_block_path(self.plan, block))
        return BlockNuclei(**{f.name: arrays[f.name] for f in fields(BlockNuclei)})

    def ids(self, block: int) -> Ids:
        """Read the ids of a block's nuclei."""
        return np.asarray(_read(_ids_path(self.plan, block))["ids"])

    def names_of(self, tile: int, n_labels: int) -> NDArray[np.uint32]:
        """Return the nucleus id of each local id of a tile; entry 0 is background.

        Parameters
        ----------
        tile : int
            Index in the grid.
        n_labels : int
            Its instances.

        Returns
        -------
        (n_labels + 1,) uint32
            0 where an instance is no nucleus.
        """
        names = np.zeros(n_labels + 1, np.uint32)
        for block in self.with_tissue(self.blocks.that_name(tile)):
            self.block(block).names_in(tile, self.ids(block), names)
        return names

    def owned_by(self, tile: int) -> tuple[Ids, InstanceRecords]:
        """Return ids and records of the nuclei anchored in a tile's core, in order."""
        core = self.plan.tiles.core(tile)
        block = self.blocks.grid.index_at(core.y0, core.x0)
        nuclei = self.block(block).nuclei
        inside = anchored_in(nuclei, core, self.plan.canvas.shape[1])
        return self.ids(block)[inside], nuclei[inside]

    def anchors(self, first: int, last: int) -> NDArray[np.int64]:
        """Return the anchors of the nuclei with ids first..last."""
        found = np.zeros(last - first + 1, np.int64)
        above, within = np.searchsorted(self.last_ids, (first, last))
        for band in range(above - 1, within):
            for block in self.with_tissue(self.blocks.band(band)):
                ids = self.ids(block)
                low, high = np.searchsorted(ids, (first, last + 1))
                at = ids[low:high].astype(np.int64) - first
                found[at] = self.block(block).nuclei[low:high, ANCHOR]
        return found


def write_block(plan: Plan, block: int, nuclei: BlockNuclei) -> None:
    """Write the nuclei of a block, durably."""
    arrays = {field.name: getattr(nuclei, field.name) for field in fields(nuclei)}
    write_arrays(_block_path(plan, block), **arrays)


def write_ids(plan: Plan, block: int, ids: Ids) -> None:
    """Write the ids of a block's nuclei, durably."""
    write_arrays(_ids_path(plan, block), ids=ids)


def write_last_ids(plan: Plan, last_ids: Sequence[int]) -> None:
    """Write the last id above each band of blocks and that of all, durably."""
    write_arrays(_bands_path(plan), last_ids=np.asarray(last_ids, np.int64))


def _read(path: Path) -> Arrays:
    try:
        found = path.stat()
        return _read_once(path, found.st_size, found.st_mtime_ns, found.st_ino)
    except (OSError, ValueError) as error:
        message = (
            f"The list of nuclei at {path} can't be read: {error}. Run again: it is "
            "made anew."
        )
        raise StoreDamaged(message, array=NUCLEI_INDEX) from error


@lru_cache(maxsize=8)
def _read_once(path: Path, _size: int, _mtime_ns: int, _inode: int) -> Arrays:
    """Read a file; tiles beside each other ask for the same."""
    return read_arrays(path)


def _folder(plan: Plan) -> Path:
    return Layout(plan.out).instances(plan.slide.id) / "blocks"


def _block_path(plan: Plan, block: int) -> Path:
    return _folder(plan) / f"{block:08d}.safetensors"


def _ids_path(plan: Plan, block: int) -> Path:
    return _folder(plan) / f"{block:08d}-ids.safetensors"


def _bands_path(plan: Plan) -> Path:
    return _folder(plan) / "bands.safetensors"
