"""A disk that is full, read-only or failing, in each stage: named, and nothing lost."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, environment

HERE = Path(__file__).parent
STAGES = ("tile", "predict", "label", "stitch", "measure", "publish")
SAID = {
    "full": "No space left on device",
    "nearly full": "Stopped before the disk is full",
    "read-only": "Read-only file system",
    "EIO": "Input/output error",
}
UNSHARE = ["unshare", "--map-root-user", "--mount"]


def may_mount():
    if shutil.which("unshare") is None:
        return False
    mount = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mount, check=False, capture_output=True).returncode == 0


def pytest_generate_tests(metafunc):
    option = metafunc.config.option
    chance = random.Random(option.seed)
    cases = [
        (fault, stage, moment)
        for fault in SAID
        for stage in STAGES
        for moment in ("open", "receipt")
        if (stage, moment) != ("publish", "receipt")
        # Room is looked for when a stage opens; publishing does with what is kept free.
        and not (fault == "nearly full" and stage == "publish")
        and (fault, moment) != ("nearly full", "receipt")
    ]
    chosen = chance.sample(cases, min(option.moments, len(cases)))
    names = ["-".join(case).replace(" ", "-") for case in chosen]
    metafunc.parametrize("case", chosen, ids=names)


@pytest.fixture(scope="session")
def failing_writes(tmp_path_factory):
    """The library that lets writes fail."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc isn't there to compile failing writes")
    library = tmp_path_factory.mktemp("preloaded") / "failing_writes.so"
    source = HERE / "failing_writes.c"
    flags = ["-shared", "-fPIC", "-O1", "-o", str(library)]
    subprocess.run(["/usr/bin/env", "gcc", *flags, str(source), "-ldl"], check=True)
    return library


@pytest.mark.timeout(600)
def test_a_fault_of_the_disk_is_named_and_loses_nothing(
    case, laboratory, failing_writes, tmp_path
):
    fault = case[0]
    if not may_mount():
        pytest.skip("mounting a tmpfs in a namespace isn't allowed here")
    disk = tmp_path / "disk"
    disk.mkdir()
    slide = str(laboratory.folder / "inbox" / "a.tif")
    preloaded = {
        "LD_PRELOAD": str(failing_writes),
        "FAILING_ROOT": str(disk.resolve()),
        "FAILING_WHILE": str(tmp_path / "failing"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
    }
    script = [sys.executable, "-P", str(HERE / "faulty_run.py")]
    ran = subprocess.run(
        [*UNSHARE, *script, *case, slide, str(disk)],
        env=environment("faulty") | preloaded,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    outcome = json.loads(ran.stdout)
    assert SAID[fault] in outcome["said"], outcome
    assert outcome["exit_code"] in {1, 2}
    assert fault == "EIO" or not outcome["quarantined"]
    assert outcome["next_exit_code"] == 0, outcome["next_said"]
    assert outcome["contents"] == laboratory.contents_of("a")
