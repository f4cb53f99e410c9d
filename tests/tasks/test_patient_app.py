"""What the database was too busy for is tried again, and nothing else is."""

import asyncio
import socket
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse

from tasks import patient_app
from tasks.patient_app import WAITS_S, PatientApp


class LockedError(Exception):
    """Stands for the error of the database."""


class Server:
    """Refuses ``n_refused`` requests before it echoes one."""

    def __init__(self):
        self.n_refused, self.heard = 0, []
        app = FastAPI()
        app.post("/echo")(self.echo)
        app.post("/missing")(self.missing)
        app.exception_handler(Exception)(self.refuse)
        self.listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(PatientApp(app), log_level="critical")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.listening]}
        )

    async def echo(self, said: dict):
        self.heard.append(said)
        if len(self.heard) <= self.n_refused:
            raise LockedError
        return said

    async def missing(self):
        self.heard.append("missing")
        raise HTTPException(404)

    async def refuse(self, _request, _error):
        return PlainTextResponse("locked", status_code=503)

    def ask(self, path, body=b'{"a": 1}'):
        url = f"http://127.0.0.1:{self.listening.getsockname()[1]}{path}"
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(url, body, headers), timeout=20) as answer:
            return answer.read()


@pytest.fixture
def server():
    server = Server()
    server.thread.start()
    yield server
    server.server.should_exit = True
    server.thread.join()


@pytest.mark.parametrize("n_refused", [0, 1, len(WAITS_S)])
def test_a_refused_request_is_made_again_as_it_was(server, n_refused):
    server.n_refused = n_refused
    assert server.ask("/echo") == b'{"a":1}'
    assert server.heard == [{"a": 1}] * (n_refused + 1)


def test_a_client_is_told_when_patience_ends(server, monkeypatch):
    monkeypatch.setattr(patient_app, "WAITS_S", (0.001, 0.001))
    server.n_refused = 3
    with pytest.raises(HTTPError, match="503"):
        server.ask("/echo")
    assert len(server.heard) == 3


def test_other_errors_are_passed_on_at_once(server):
    with pytest.raises(HTTPError, match="404"):
        server.ask("/missing")
    assert server.heard == ["missing"]


def test_a_large_request_in_many_pieces_is_said_again_whole(server):
    server.n_refused = 2
    text = "x" * 3_000_000
    assert server.ask("/echo", b'{"a":"' + text.encode() + b'"}').endswith(b'x"}')
    assert [len(said["a"]) for said in server.heard] == [3_000_000] * 3


def test_what_is_not_http_passes_through():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["type"], await receive()))
        await send({"type": "websocket.close"})

    async def run():
        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            seen.append(message["type"])

        await PatientApp(app)({"type": "websocket"}, receive, send)

    asyncio.run(run())
    connected = {"type": "websocket.connect"}
    assert seen == [("websocket", connected), "websocket.close"]
