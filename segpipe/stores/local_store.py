"""A zarr store on disk whose files are put in place as all others of a run are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from segpipe.stores.durable import current_turn, renaming


class RenamingStore(LocalStore):
    """Writes through the turn that the thread which made it was writing through.

    zarr writes in threads of its own, so the turn is asked for once, when made.
    """

    def __init__(
        self, root: Path | str, *, read_only: bool = False, turn: Path | None = None
    ) -> None:
        super().__init__(root, read_only=read_only)
        self.turn = turn or current_turn()

    def with_read_only(self, read_only: bool = False) -> Self:  # noqa: FBT001, FBT002
        """Return the store, read-only or not."""
        return type(self)(self.root, read_only=read_only, turn=self.turn)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write a key, whole or not at all."""
        self._check_writable()
        with renaming(self.root / key, self.turn) as temporary:
            temporary.write_bytes(value.as_buffer_like())

    async def set(self, key: str, value: Buffer) -> None:
        """Write a key, whole or not at all."""
        await asyncio.to_thread(self.set_sync, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a key that isn't there."""
        if not await self.exists(key):
            await self.set(key, value)
