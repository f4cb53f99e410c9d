"""A run whose disk fails from a stage on, and the next run with the fault gone.

Started in a mount namespace of its own, with a small tmpfs as its disk. Prints what
became of both runs as JSON. Arguments: fault, stage, moment, slide, folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from results import contents

from flows.cli import main
from segpipe.stages import pricing
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger

DISK_MIB = 160


def fill(disk: Path, *, but_bytes: int = 0) -> None:
    """Take all of a disk but so much."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while free > but_bytes:
            free -= ballast.write(bytes(min(2**20, free - but_bytes)))
        while not but_bytes:
            ballast.write(bytes(512))


def remount(disk: Path, mode: str) -> None:
    """Make a disk read-only, or writable again."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)  # noqa: S607


def faults(disk: Path) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return what starts and what ends each fault."""
    ballast, failing = disk / "ballast", Path(os.environ["FAILING_WHILE"])
    make_room = partial(ballast.unlink, missing_ok=True)
    return {
        "full": (lambda: fill(disk), make_room),
        "nearly full": (
            lambda: fill(disk, but_bytes=8 * 2**20),
            partial(ballast.unlink, missing_ok=True),
        ),
        "read-only": (lambda: remount(disk, "ro"), lambda: remount(disk, "rw")),
        "EIO": (failing.touch, partial(failing.unlink, missing_ok=True)),
    }


def at(stage: str, moment: str, fault: Callable[[], object]) -> None:
    """Have a fault begin when a stage opens, or when its first receipt is written."""
    name = {"open": "open", "receipt": "write"}[moment]
    if stage == "publish":
        stage, name = "measure", "close"
    plain, still = getattr(Ledger, name), [fault]

    def faulty(ledger: Ledger, at_stage: str, *rest: object, **named: object) -> None:
        plain(ledger, at_stage, *rest, **named)
        if at_stage == stage and still:
            still.pop()()

    setattr(Ledger, name, faulty)


def run(command: list[str]) -> tuple[int, str]:
    """Run a command; return its exit code and the error it said, or its last line."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = ran.stderr.strip().splitlines() or [""]
    said = next((line for line in lines if line.startswith("error")), lines[-1])
    return ran.returncode, said


def run_with_fault(fault: str, stage: str, moment: str, disk: str, *words: str) -> None:
    """Be a run of the command line whose disk fails."""
    if fault != "nearly full":
        pricing.FLOOR_BYTES = 0  # or a run would stop before the disk is full
        pricing.BATCH_BYTES_PER_PX = 0
    begin, _ = faults(Path(disk))[fault]
    at(stage, moment, begin)
    sys.argv = ["segpipe", *words]
    main()


def try_out(fault: str, stage: str, moment: str, slide: str, folder: str) -> None:
    """Run with the fault and without it, and say what became of both."""
    disk = Path(folder)
    out = disk / "out"
    size = f"size={DISK_MIB}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder]
    subprocess.run(mount, check=True)
    words = ["run", slide, "--out", str(out), "--serial", "--device", "cpu"]
    words += ["--tile-px", "384"]
    python = [sys.executable, "-P"]
    faulty = [*python, __file__, "with", fault, stage, moment, folder, *words]
    code, said = run(faulty)
    quarantined = Layout(out).quarantine(Path(slide).stem).exists()
    _, end = faults(disk)[fault]
    end()
    next_code, next_said = run([*python, "-m", "flows.cli", *words])
    outcome = {
        "exit_code": code,
        "said": said,
        "quarantined": quarantined,
        "next_exit_code": next_code,
        "next_said": next_said,
        "contents": contents(out),
    }
    sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    if sys.argv[1] == "with":
        run_with_fault(*sys.argv[2:])
    else:
        try_out(*sys.argv[1:])
