"""The command ``segpipe serve``: all that a single machine needs, in one process tree.

This process imports no Prefect: it starts the server, what deploys, and the worker;
starts again what dies; and ends them all when it is told to, or dies itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated, Any

import typer

from flows import options
from flows.exits import exits
from segpipe.config import Settings, settings_from
from segpipe.errors import SettingsError
from tasks.embedded_server import answers
from tasks.faults import ServerFailed
from tasks.single_machine import Home, check_port, opened
from tasks.supervising import Program

EXAMPLES = """
Examples:

`segpipe serve --inbox slides --out results`

`segpipe serve --inbox slides --out results --cron "30 18 * * 1-5" --config lab.toml`

Then, from another terminal, `segpipe run` works as ever; the UI, at the address that is
printed, starts runs, shows them and their logs. Ctrl-C stops everything; the same
command again goes on with the same database and the same schedule.
"""
NIGHTLY = "0 2 * * *"
UP_S = 300.0
"""How long the server may take to come up: its first start makes the database."""
DEPLOYED_S = 180.0
"""How long deploying may take: it imports torch, Prefect and Dask."""
BEAT_S = 0.2
"""How often the programs are looked at."""
SERVING = "Where it is served"

Inbox = Annotated[
    Path,
    typer.Option(
        "--inbox",
        metavar="DIR",
        help="Folder that slides are dropped into; read at every run.",
        rich_help_panel=options.SLIDES,
        show_default=False,
    ),
]
CronOption = Annotated[
    str,
    typer.Option(
        "--cron",
        metavar="CRON|off",
        help="When the inbox is looked through: minute hour day month weekday. With "
        "off, only when asked.",
        rich_help_panel=SERVING,
    ),
]
Timezone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which the cron is meant in, e.g. Europe/Vienna. Default: this machine's.",
        rich_help_panel=SERVING,
    ),
]
Port = Annotated[
    int,
    typer.Option(
        min=1024,
        max=65535,
        help="Of the UI and the API, on 127.0.0.1 only.",
        rich_help_panel=SERVING,
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="Folder of the server's database, login and logs, on a local disk. "
        "Default: OUT/server.",
        rich_help_panel=SERVING,
    ),
]


def serve(  # noqa: PLR0913 - each is an option
    *,
    inbox: Inbox,
    out: options.Out,
    cron: CronOption = NIGHTLY,
    timezone: Timezone = None,
    port: Port = 4200,
    home: HomeOption = None,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Serve a folder of slides every night: Prefect server, worker and schedule."""
    with exits(debug=debug):
        from segpipe.stages.outputs import prepare_out  # noqa: PLC0415

        settings = settings_from(config)
        wanted = to_deploy(inbox, out, settings, cron=cron, timezone=timezone)
        folder = (home or out / "server").resolve()
        prepare_out(out)
        with opened(Home(folder=folder, port=port)) as served, _told_to_stop() as stop:
            check_port(port)
            Service(home=served, wanted=wanted, stop=stop).run()


def to_deploy(
    inbox: Path, out: Path, settings: Settings, *, cron: str, timezone: str | None
) -> dict[str, Any]:
    """Return what is deployed, in JSON's types and with absolute paths.

    Raises
    ------
    SettingsError
        If the inbox is no folder, the cron or the time zone none, or a setting is of
        one slide.
    """
    if not inbox.is_dir():
        message = f"--inbox {inbox} is no folder. Make it, and drop slides into it."
        raise SettingsError(message)
    if settings.tissue_mask is not None:
        message = (
            f"tissue_mask = {settings.tissue_mask} is of one slide, and an inbox has "
            "many. Leave it out."
        )
        raise SettingsError(message)
    chosen = settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    for name in set(chosen) & {"weights", "cluster"}:
        chosen[name] = str(Path(chosen[name]).resolve())
    return {
        "inbox": str(inbox.resolve()),
        "out": str(out.resolve()),
        "settings": chosen,
        "cron": None if cron == "off" else checked_cron(cron),
        "timezone": timezone_named(timezone),
    }


def checked_cron(cron: str) -> str:
    """Return a cron that Prefect understands.

    Raises
    ------
    SettingsError
        If it doesn't.
    """
    from prefect.client.schemas.schedules import CronSchedule  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        return CronSchedule(cron=cron).cron
    except ValidationError as error:
        message = (
            f"--cron {cron!r} is no cron: it has five fields, minute hour day month "
            f"weekday, as in {NIGHTLY!r} for every night at two. Or give off."
        )
        raise SettingsError(message) from error


def timezone_named(name: str | None) -> str:
    """Return the name of a time zone, or of this machine's.

    Raises
    ------
    SettingsError
        If there is none of that name.
    """
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    local = "/".join(Path("/etc/localtime").resolve().parts).partition("zoneinfo/")[2]
    chosen = name or os.environ.get("TZ", "").lstrip(":") or local or "UTC"
    try:
        return ZoneInfo(chosen).key
    except (ValueError, OSError, LookupError) as error:
        message = (
            f"No time zone {chosen!r}. Give --timezone as in Europe/Vienna or UTC."
        )
        raise SettingsError(message) from error


@contextmanager
def _told_to_stop() -> Iterator[Event]:
    """Yield what is set when Ctrl-C or SIGTERM comes."""
    stop = Event()

    def told(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {name: signal.signal(name, told) for name in STOPS}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True, kw_only=True)
class Service:
    """A server, a worker and the schedule, from start to stop."""

    home: Home
    """Folder, port and programs."""
    wanted: dict[str, Any]
    """What is deployed."""
    stop: Event
    """Set when it is told to stop."""

    def run(self) -> None:
        """Serve until told to stop; all processes are gone when it returns.

        Raises
        ------
        ServerFailed
            If the server doesn't come up, or a program dies too often.
        """
        server, worker = self.home.server(), self.home.worker()
        deployer = self.home.deployer()
        self.home.wanted.write_text(json.dumps(self.wanted), encoding="utf-8")
        try:
            _say(f"starting Prefect's server on {self.home.ui} ...")
            server.start()
            self._come_up(server)
            self._deploy(deployer)
            if not self.stop.is_set():
                worker.start()
                _say(self._greeting())
            self._keep_up(server, worker, deployer)
        finally:
            _say("stopping ...")
            worker.end_flow_runs()
            for program in (worker, deployer, server):
                program.end()
            _say("stopped. Finished work is kept: the same command goes on from here.")

    def _come_up(self, server: Program) -> None:
        def is_up() -> bool:
            if server.exit_code() is not None:
                server.start_again()
            return answers(self.home.port)

        self._wait(is_up, UP_S, server)

    def _deploy(self, deployer: Program) -> None:
        """Put the deployments in place; what is left of an earlier service, settle."""
        if self.stop.is_set():
            return
        deployer.start()

        def is_done() -> bool:
            if deployer.exit_code():
                deployer.start_again()
            return deployer.exit_code() == 0

        self._wait(is_done, DEPLOYED_S, deployer)

    def _wait(self, is_done: Callable[[], bool], seconds: float, who: Program) -> None:
        deadline = time.monotonic() + seconds
        while not self.stop.is_set() and not is_done():
            if time.monotonic() > deadline:
                message = (
                    f"The {who.name} isn't ready after {seconds:.0f} s: "
                    f"{who.last_line()} Its log is {who.log}."
                )
                raise ServerFailed(message)
            self.stop.wait(BEAT_S)

    def _keep_up(self, server: Program, worker: Program, deployer: Program) -> None:
        """Start again what ends, until told to stop."""
        while not self.stop.wait(BEAT_S):
            if server.exit_code() is not None:
                _say(f"the server ended ({server.exit_code()}); starting it again")
                server.start_again()
                self._come_up(server)
            if worker.exit_code() is not None:
                _say(f"the worker ended ({worker.exit_code()}); starting it again")
                worker.kill_rest()
                self._deploy(deployer)
                if not self.stop.is_set():
                    worker.start_again()

    def _greeting(self) -> str:
        cron, zone = self.wanted["cron"], self.wanted["timezone"]
        when = f"at cron {cron} ({zone})" if cron else "only when asked"
        return (
            f"serving {self.wanted['inbox']} into {self.wanted['out']}, {when}\n"
            f"  UI      {self.home.ui}, on this machine only\n"
            f"  login   what is in {self.home.auth_file}\n"
            f"  logs    {self.home.folder / 'logs'}\n"
            "Ctrl-C stops everything."
        )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
