"""Damaged slides and bombs meet an error with a name, and no process dies of them.

A light version; ``python tests/fuzz/mutate.py`` tries as many as one likes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bombs import BOMBS
from specimens import SPECIMENS

HERE = Path(__file__).parent
N_FILES = 66
SEED = 20260101


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    keep = tmp_path_factory.mktemp("defects")
    command = [sys.executable, str(HERE / "mutate.py"), "--json", "--bombs"]
    options = ["--files", str(N_FILES), "--seed", str(SEED), "--keep", str(keep)]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def counts(ended):
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout.splitlines()[0])


def test_no_slide_kills_hangs_or_swells_a_process(ended):
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_kind_is_tried_and_some_damage_is_harmless(counts):
    assert set(counts) >= set(SPECIMENS)
    n_read = sum(counts[name].get("read", 0) for name in SPECIMENS)
    assert 0 < n_read < N_FILES


def test_every_bomb_meets_the_error_it_should(counts):
    met = {name: list(counts[f"bomb-{name}"]) for name in BOMBS}
    assert met == {name: [expected] for name, (expected, _) in BOMBS.items()}
