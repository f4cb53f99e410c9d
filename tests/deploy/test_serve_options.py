"""What `segpipe serve` refuses, what it deploys, and which programs it would start."""

import json
import os
import socket
import stat
import sys

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.serving import to_deploy
from segpipe.config import Settings
from segpipe.errors import SettingsError
from tasks.faults import ServerFailed
from tasks.single_machine import HOST, Home, check_port, opened
from tasks.supervising import RESTARTS, Program


def segpipe(*arguments):
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def home(tmp_path):
    with opened(Home(folder=tmp_path / "home", port=4200)) as home:
        yield home


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--inbox", "missing"), "missing is no folder"),
        (("--cron", "every night"), "'every night' is no cron"),
        (("--timezone", "Mars/Olympus"), "No time zone 'Mars/Olympus'"),
        (("--port", "80"), "equal to 1024"),
    ],
)
def test_a_call_that_can_not_be_served_is_refused_and_leaves_nothing(
    inbox, tmp_path, monkeypatch, options, said
):
    monkeypatch.chdir(tmp_path)
    ended = segpipe("--inbox", inbox, "--out", "out", *options)
    assert ended.exit_code == 2
    assert said in ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_tissue_mask_is_of_no_inbox(inbox, tmp_path):
    settings = Settings(tissue_mask=tmp_path / "mask.png")
    with pytest.raises(SettingsError, match="of one slide"):
        to_deploy(inbox, tmp_path, settings, cron="off", timezone="UTC")


def test_a_port_that_something_listens_at_is_refused_before_anything_starts(
    inbox, tmp_path
):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        ended = segpipe("--inbox", inbox, "--out", tmp_path / "out", "--port", port)
        assert ended.exit_code == 2
        assert f"--port {port} can't be had on {HOST}" in ended.stderr
    check_port(port)


def test_a_home_is_served_once(inbox, tmp_path, home):
    where = ("--out", tmp_path / "out", "--home", home.folder)
    ended = segpipe("--inbox", inbox, *where)
    assert ended.exit_code == 2
    assert f"served already, by process {os.getpid()}" in ended.stderr


def test_what_is_deployed_has_no_relative_path(inbox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(weights="mine.safetensors", keep={"maps"})
    wanted = to_deploy(
        inbox.relative_to(tmp_path), tmp_path, settings, cron="0 3 * * 1", timezone=None
    )
    assert wanted["inbox"] == str(inbox)
    assert wanted["settings"] == {
        "weights": str(tmp_path / "mine.safetensors"),
        "keep": ["maps"],
    }
    assert json.loads(json.dumps(wanted)) == wanted


def test_the_login_is_random_kept_and_for_its_owner_only(tmp_path, home):
    assert stat.S_IMODE(home.auth_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    login = home.auth_file.read_text()
    assert len(login.strip().removeprefix("segpipe:")) == 32
    other = Home(folder=tmp_path / "other", port=4200)
    with opened(other):
        assert other.auth_file.read_text() != login
    with opened(other):
        first = other.auth_file.read_text()
    other.auth_file.write_text("")  # as a full disk leaves it
    with opened(other):
        assert other.auth_file.read_text() not in {"", first}


def test_no_program_listens_beyond_loopback_or_shows_the_login(home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_KEY", "of someone's cloud")
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql://other")
    secret = home.auth_file.read_text().strip()
    for program in (home.server(), home.worker(), home.deployer()):
        assert program.command()[:4] == [sys.executable, "-P", "-m", "tasks.leash"]
        assert secret not in " ".join(program.command())
        everywhere = {"0.0.0.0", "::"}  # noqa: S104
        assert everywhere.isdisjoint(program.command())
        assert everywhere.isdisjoint(program.environment.values())
        assert program.environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
        assert program.environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        assert program.environment["DO_NOT_TRACK"] == "1"
        assert program.environment["PREFECT_SERVER_API_AUTH_STRING"] == secret
        assert "PREFECT_API_KEY" not in program.environment
        assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in program.environment
    assert home.server().command()[-6:-2] == ["--host", HOST, "--port", "4200"]


def test_a_program_that_keeps_dying_is_given_up_with_its_last_words(tmp_path):
    log = tmp_path / "this.log"
    program = Program(name="this", arguments=("this",), environment={}, log=log)
    program.start()
    for _ in range(RESTARTS):
        program.process.wait(timeout=30)
        program.start_again()
    program.process.wait(timeout=30)
    with pytest.raises(ServerFailed, match=r"this ended 4 times .* code 0.*Namespace"):
        program.start_again()
    program.end()


def test_a_program_ends_when_its_holder_lets_go(tmp_path):
    program = Program(
        name="waits",
        arguments=("timeit", "-n1", "-r1", "import time; time.sleep(60)"),
        environment=os.environ,
        log=tmp_path / "waits.log",
    )
    program.start()
    assert program.exit_code() is None
    program.process.stdin.close()  # as when the holder was killed
    assert program.process.wait(timeout=30) == 1
