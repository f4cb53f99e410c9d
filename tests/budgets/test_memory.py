"""Memory stays below what the plan priced, and doesn't grow with the slide.

`make budget-test`; CI takes one slide with little tissue, without ``--sides``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mosaics import CELL_PX, write_mosaic

HERE = Path(__file__).parent
SMALL = (4096,)
TILE_PX = 512
GROWTH_BYTES = 96 * 2**20
"""What an allocator may keep; a slide of 16k² has 800 MB of pixels."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux"
    ),
]


def n_tissue(side_px, is_small):
    """Return how many squares are tissue: more on a larger slide."""
    return 2 if is_small else side_px // CELL_PX * 2


@pytest.fixture(scope="module")
def measured(request, tmp_path_factory):
    given = request.config.getoption("--sides", default=None)
    sides = tuple(map(int, given.split(","))) if given else SMALL
    folder = tmp_path_factory.mktemp("mosaics")
    slides = [
        write_mosaic(folder / f"{side}.tif", side, n_tissue(side, not given))
        for side in sides
    ]
    ran = subprocess.run(
        [sys.executable, str(HERE / "peaks.py"), str(TILE_PX), str(folder)]
        + [str(slide) for slide in slides],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    if given:
        sys.stdout.write(table(found))
    return found


def table(found):
    """Return peaks in MiB, a line a step."""
    steps = sorted({step for slide in found for step in slide["peaks"]})
    lines = ["peak MiB        " + "".join(f"{s['slide']:>8}" for s in found)]
    lines += [
        f"{step:16}" + "".join(f"{s['peaks'].get(step, 0) >> 20:8}" for s in found)
        for step in steps
    ]
    lines += [
        f"{name:16}" + "".join(f"{s[name] >> 20:8}" for s in found)
        for name in ("worker_bytes", "driver_bytes")
    ]
    lines += [
        f"{name:16}" + "".join(f"{s[name]:8}" for s in found)
        for name in ("n_windows", "n_nuclei")
    ]
    return "\n" + "\n".join(lines) + "\n"


def highest(slide, who):
    return max(n for step, n in slide["peaks"].items() if step.startswith(who))


@pytest.mark.timeout(3600)
def test_workers_and_driver_stay_below_their_price(measured):
    for slide in measured:
        assert slide["n_nuclei"] > 50
        assert highest(slide, "worker") < slide["worker_bytes"], table(measured)
        assert highest(slide, "driver") < slide["driver_bytes"], table(measured)


@pytest.mark.timeout(3600)
def test_no_process_takes_more_memory_for_a_larger_slide(measured):
    if len(measured) == 1:
        pytest.skip("needs slides of several --sides")
    for slide in measured[1:]:
        grown = highest(slide, "worker") - highest(measured[0], "worker")
        assert grown < GROWTH_BYTES, table(measured)
