"""A slide has one holder, whatever happens to processes, hosts and clocks."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread

import pytest

from segpipe.errors import OutputNotOurs
from segpipe.stores import lease_files, leases
from segpipe.stores.holders import Holder
from segpipe.stores.layout import Layout
from segpipe.stores.leases import DEFAULT_TIMING, LeaseTiming
from segpipe.stores.ledger import Ledger

QUICK = LeaseTiming(renew_s=0.05, dead_s=0.6, poll_s=0.05)
PATIENT = replace(QUICK, dead_s=20)
"""Nobody is taken for dead by waiting: the test would take long and fail."""

HOLD = f"""
import sys, time
from pathlib import Path
from segpipe.errors import OutputNotOurs
from segpipe.stores.layout import Layout
from segpipe.stores.leases import LeaseTiming
from segpipe.stores.ledger import Ledger, Receipt
ledger = Ledger(Layout(Path(sys.argv[1])), "slide")
try:
    with ledger.held({QUICK!r}) as hold:
        ledger.open("label", "key")
        print("held", flush=True)
        for unit in range(2_000):
            time.sleep(0.01)
            hold.check()
            ledger.write("label", "key", Receipt(units=(unit,), count=1, seconds=0.01))
except OutputNotOurs as error:
    print("lost", error, flush=True)
"""
TAKE = f"""
import sys
from pathlib import Path
from segpipe.errors import OutputNotOurs
from segpipe.stores.leases import LeaseTiming, take
for line in sys.stdin:
    folder = Path(line.strip())
    while not (folder / "go").exists():
        pass
    try:
        print(take(folder, {PATIENT!r}).path.name, flush=True)
    except OutputNotOurs:
        print("busy", flush=True)
"""


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(Layout(tmp_path), "slide")
    ledger.folder.mkdir(parents=True)
    return ledger


@contextmanager
def running(code, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@contextmanager
def holder(tmp_path):
    with running(HOLD, tmp_path) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def stop(process):
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


def lay(folder, holder, number=1, **facts):
    """Write a lease of another holder, as it would."""
    path = folder / f"lease-{number:08d}.json"
    fields = {name: getattr(holder, name) for name in Holder.__slots__}
    said = {"token": "other", "is_released": False, "renewal": "0"} | fields | facts
    path.write_text(json.dumps(said).ljust(lease_files.LENGTH))
    return path


def elsewhere():
    return replace(Holder.here(), host="elsewhere", boot="another")


def gone():
    """A process of this host that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return replace(Holder.here(), pid=process.pid)


def test_a_killed_holder_is_followed_at_once(tmp_path, ledger):
    with holder(tmp_path) as process:
        with pytest.raises(OutputNotOurs, match=f"process {process.pid} on "):
            leases.take(ledger.folder, PATIENT)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with ledger.held(PATIENT) as hold:
            assert hold.path.name == "lease-00000002.json"


def test_a_killed_holder_that_nobody_reaped_is_dead_too(tmp_path, ledger):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with ledger.held(PATIENT):
            pass


def test_a_stopped_holder_is_followed_and_stops_when_it_wakes(tmp_path, ledger):
    with holder(tmp_path) as process:
        stop(process)
        with ledger.held(QUICK) as hold:
            written = ledger.done_units("label", "key")
            process.send_signal(signal.SIGCONT)
            said = process.stdout.readline()
            assert said.startswith("lost Slide slide in ")
            assert f"process {os.getpid()} on " in said
            assert len(ledger.done_units("label", "key") - written) <= 1
            hold.check()
        assert process.wait() == 0


def test_a_stopped_holder_that_wakes_in_time_keeps_the_slide(tmp_path, ledger):
    with holder(tmp_path) as process:
        stop(process)
        waking = Thread(
            target=lambda: (time.sleep(0.2), process.send_signal(signal.SIGCONT))
        )
        waking.start()
        with pytest.raises(OutputNotOurs, match="being worked on by another run"):
            leases.take(ledger.folder, PATIENT)
        waking.join()


@contextmanager
def renewed(path):
    """Renew a lease from a thread, as its host would."""
    stop = Event()

    def renew():
        facts, n = json.loads(path.read_text()), 0
        while not stop.wait(QUICK.renew_s):
            n += 1
            said = json.dumps(facts | {"renewal": str(n)}).ljust(lease_files.LENGTH)
            with path.open("r+") as file:
                file.write(said)

    thread = Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_slide_that_another_host_renews_is_left_to_it(ledger):
    with (
        renewed(lay(ledger.folder, elsewhere())),
        pytest.raises(OutputNotOurs, match="elsewhere"),
    ):
        leases.take(ledger.folder, PATIENT)


@pytest.mark.parametrize("stated", ["1970-01-01T00:00:00", "2999-01-01T00:00:00"])
@pytest.mark.parametrize("is_renewed", [True, False])
def test_no_clock_says_who_is_alive(ledger, stated, is_renewed):
    path = lay(ledger.folder, elsewhere(), renewed_at=stated)
    mtime = 1e9 if stated < "2" else 3e10
    os.utime(path, (mtime, mtime))
    if is_renewed:
        with renewed(path), pytest.raises(OutputNotOurs):
            leases.take(ledger.folder, PATIENT)
    else:
        started = time.monotonic()
        with ledger.held(QUICK):
            assert time.monotonic() - started >= QUICK.dead_s


def test_time_that_the_taker_itself_was_away_does_not_count(ledger, monkeypatch):
    lay(ledger.folder, elsewhere())
    looks, clock = [], iter(range(0, 10**9, 3600))
    monkeypatch.setattr(leases.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(leases.time, "sleep", looks.append)
    leases.take(ledger.folder, DEFAULT_TIMING)
    assert len(looks) == DEFAULT_TIMING.dead_s / (2 * DEFAULT_TIMING.poll_s)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "held"),
        ({"started": 1}, "free"),
        ({"boot": "an earlier one"}, "unknown"),
        ({"host": "another"}, "unknown"),
        ({"pid_space": "pid:[1]"}, "unknown"),
        ({"pid": 2**22 + 1}, "free"),
    ],
)
def test_only_a_process_of_this_host_is_looked_at(ledger, changed, verdict):
    lay(ledger.folder, replace(Holder.here(), **changed))
    assert leases.judge(lease_files.newest(ledger.folder)) == verdict


def test_a_lease_that_is_not_written_yet_is_nobodys_to_take(ledger):
    path = lay(ledger.folder, elsewhere())
    said = path.read_text()
    for n_bytes in (0, 1, 100, len(said.rstrip()) - 1):
        path.write_text(said[:n_bytes])
        assert leases.judge(lease_files.newest(ledger.folder)) == "unknown"


def test_of_many_takers_one_wins(tmp_path):
    rounds, n_takers = 25, 4
    dead = gone()
    folders = [tmp_path / "ledger" / str(number) for number in range(rounds)]
    for folder in folders:
        folder.mkdir(parents=True)
        lay(folder, dead, number=7)
    with running(TAKE) as a, running(TAKE) as b, running(TAKE) as c, running(TAKE) as d:
        takers = (a, b, c, d)
        for folder in folders:
            for taker in takers:
                taker.stdin.write(f"{folder}\n")
                taker.stdin.flush()
            (folder / "go").touch()
            said = sorted(taker.stdout.readline().strip() for taker in takers)
            assert said == ["busy"] * (n_takers - 1) + ["lease-00000008.json"]
            assert len(list(folder.glob("lease-*"))) == 1
            assert len(list(folder.glob("turn-00000008-*"))) == 1
            assert len(list(folder.glob("turn-*"))) == 1


def test_a_taker_that_slept_through_other_holders_takes_nothing(ledger):
    lay(ledger.folder, gone(), number=1)
    for _ in range(2):
        with ledger.held(PATIENT):
            pass
    with ledger.held(PATIENT) as hold:
        assert leases._take_after(ledger.folder, 1) is None
        hold.check()
        assert [path.name for path in ledger.folder.glob("lease-*")] == [hold.path.name]


def test_who_lost_the_slide_does_not_bring_its_lease_back(ledger):
    with ledger.held(QUICK) as hold:
        hold.path.unlink()
        taken = lay(ledger.folder, elsewhere(), number=2)
        time.sleep(3 * QUICK.renew_s)
        with pytest.raises(OutputNotOurs, match="no life"):
            hold.check()
        with pytest.raises(OutputNotOurs):
            ledger.hold()
    assert [path.name for path in ledger.folder.glob("lease-*")] == [taken.name]


def test_a_lease_that_cannot_be_given_back_is_no_obstacle_to_its_own_process(
    ledger, monkeypatch
):
    def fail(*_, **__):
        raise OSError

    with monkeypatch.context() as patched, ledger.held(PATIENT):
        patched.setattr(leases, "_write", fail)
    assert not lease_files.newest(ledger.folder).is_released
    with ledger.held(PATIENT) as hold:
        assert hold.path.name == "lease-00000002.json"


def test_a_lease_is_renewed_in_place_and_given_back(ledger):
    with ledger.held(QUICK) as hold:
        before = hold.path.read_text()
        deadline = time.monotonic() + 20
        while hold.path.read_text() == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert ledger.hold() == hold
    assert lease_files.newest(ledger.folder).is_released
    with pytest.raises(OutputNotOurs):
        ledger.hold()
