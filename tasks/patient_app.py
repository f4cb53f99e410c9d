"""A web application that tries again what its database was too busy for.

Prefect's server begins most transactions by reading. If another writes meanwhile,
SQLite refuses the write at once, and the server answers 503; its client then sleeps two
seconds, at nearly every slide. The refused transaction has changed nothing, so it is
tried again here, within milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

TOO_BUSY = 503
WAITS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Before each try but the first. Then the client is told, which tries again itself."""


@dataclass(frozen=True, slots=True)
class PatientApp:
    """An ASGI application around another."""

    app: App

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request; what isn't HTTP passes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = await _whole_request(receive)
        for wait_s in WAITS_S:
            answer = _Answer(send)
            try:
                await self.app(dict(scope), _replay(said, receive), answer)
            except Exception:
                if not answer.is_too_busy:  # else it is what the answer was about
                    raise
            if not answer.is_too_busy:
                return
            await asyncio.sleep(wait_s)
        await self.app(dict(scope), _replay(said, receive), send)


@dataclass(slots=True)
class _Answer:
    """Passes an answer on, unless it is that the database is too busy."""

    send: Send
    is_too_busy: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_too_busy = message["status"] == TOO_BUSY
        if not self.is_too_busy:
            await self.send(message)


async def _whole_request(receive: Receive) -> list[Message]:
    """Return all messages of a request."""
    said = [await receive()]
    while said[-1].get("more_body", False):
        said.append(await receive())
    return said


def _replay(said: list[Message], receive: Receive) -> Receive:
    """Return what says a request again, and then what comes after it."""
    left = iter(said)

    async def again() -> Message:
        return next(left, None) or await receive()

    return again
