"""The batch script passes on what it is told, and stops a run before the limit."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "slurm" / "segpipe.sbatch"
STAND_IN = """#!/usr/bin/env bash
echo "$*" > told
echo "$PREFECT_HOME" > home
trap 'echo interrupted > heard; exit 130' INT
for _ in $(seq {beats}); do sleep 0.1; done
exit 3
"""


@pytest.fixture
def _hears_ctrl_c():
    """Let the script start as from SLURM, whatever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def job(tmp_path, _hears_ctrl_c):
    """Return a function that starts the script with a stand-in for segpipe."""
    (tmp_path / "scratch").mkdir()

    def start(beats, **variables):
        (tmp_path / "segpipe").write_text(STAND_IN.format(beats=beats))
        (tmp_path / "segpipe").chmod(0o755)
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        ours = {"PATH": path, "SLURM_TMPDIR": str(tmp_path / "scratch")} | variables
        return subprocess.Popen(
            ["/bin/bash", SCRIPT],
            cwd=tmp_path,
            env=ours,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_options_and_exit_code_are_passed_on_and_scratch_is_removed(job, tmp_path):
    asked = {"INPUTS": "/in/a /in/b", "OUT": "/out", "OPTIONS": "--keep maps"}
    started = job(0, SLURM_CPUS_PER_TASK="7", **asked)
    _, complaint = started.communicate(timeout=60)
    assert (started.returncode, complaint) == (3, "")
    told = (tmp_path / "told").read_text().strip()
    assert told == "run /in/a /in/b --out /out --workers 7 --keep maps"
    assert (tmp_path / "home").read_text().startswith(f"{tmp_path}/scratch/segpipe.")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_signal_before_the_limit_stops_the_run(job, tmp_path):
    started = job(300, INPUTS="/in", OUT="/out")
    while not (tmp_path / "home").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    started.send_signal(signal.SIGTERM)
    started.communicate(timeout=20)
    assert started.returncode == 130
    assert (tmp_path / "heard").read_text() == "interrupted\n"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_without_inputs_it_says_what_is_missing(job):
    started = job(0, OUT="/out")
    _, complaint = started.communicate(timeout=60)
    assert started.returncode != 0
    assert "INPUTS: slides, a folder of slides" in complaint
