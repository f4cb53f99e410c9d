"""How long a nightly run takes that has nothing to do.

Segments one small slide for real, clones what it left for thousands of slides, each
with a file and an id of its own, and runs the cohort by the command line and by the
flow. Prints seconds; fails if anything was done, started or written.

    python tests/benchmarks/nightly.py [N_SLIDES]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "stages")]

from small_slides import write_slide  # noqa: E402

from segpipe import open_slide  # noqa: E402
from segpipe.config import Settings, SlideRef  # noqa: E402
from segpipe.geometry import Box  # noqa: E402
from segpipe.stages.finished import Asked, Done, done_path, read_row  # noqa: E402
from segpipe.stages.grounds import content_of  # noqa: E402
from segpipe.stages.slide import segment_slide  # noqa: E402
from segpipe.stores.layout import Layout  # noqa: E402
from segpipe.stores.ledger import Ledger  # noqa: E402

EXAMPLE = ROOT / "examples" / "cmu-1-small-region.svs"
BY_FLOW = """
import sys, time
from pathlib import Path
from tasks.embedded_server import prefect_api
from flows.segment_cohort import segment_cohort
with prefect_api() as wait_for_api:
    wait_for_api()
    started = time.perf_counter()
    state = segment_cohort([Path(sys.argv[1])], Path(sys.argv[2]), return_state=True)
    seconds = time.perf_counter() - started
    counts = {}
    for outcome in state.result():
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    print(seconds, state.name, counts, flush=True)
"""


def make_cohort(folder, n_slides):
    """Return slides and results of a cohort that is finished."""
    inbox, layout = folder / "inbox", Layout(folder / "out")
    inbox.mkdir()
    with open_slide(EXAMPLE) as opened:
        rgb = opened.read(Box(1500, 900, 1990, 1540), 0)
    first = SlideRef(id="s00000", path=write_slide(inbox / "s00000.tif", rgb))
    segment_slide(first, layout.out, Settings(report=False))
    slides = [first]
    for number in range(1, n_slides):
        path = inbox / f"s{number:05d}.tif"
        os.link(first.path, path)
        slides.append(SlideRef(id=path.stem, path=path))
    clone_results(slides, layout)
    return inbox, layout


def clone_results(slides, layout):
    """Leave for every slide what the first one left."""
    asked = Asked.of(Settings(), layout)
    row = json.loads(read_row(Ledger(layout, slides[0].id)).to_json())
    content = content_of(slides[0], asked.settings)
    for slide in slides:
        ledger, table = Ledger(layout, slide.id), layout.table(slide.id)
        own = {"slide_id": slide.id, "path": str(slide.path)}
        grounds = asked.grounds(slide).model_copy(update={"content": content})
        done = Done(result_key=row["result_key"], grounds=grounds)
        ledger.folder.mkdir(exist_ok=True)
        ledger.row_path.write_text(json.dumps(row | own, sort_keys=True))
        done_path(ledger).write_text(done.model_dump_json())
        if slide is not slides[0]:
            table.parent.mkdir(parents=True, exist_ok=True)
            os.link(layout.table(slides[0].id), table)


def timed(command, environment):
    """Return how long a command took, in words, and what it said on stdout."""
    started, before = time.perf_counter(), os.times()
    ended = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    seconds, after = time.perf_counter() - started, os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    return f"{seconds:.1f} s ({cpu:.1f} s of CPU)", ended.stdout


def main(n_slides):
    """Measure, print and check."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        inbox, layout = make_cohort(Path(folder).resolve(), n_slides)
        made = time.perf_counter() - started
        print(f"{n_slides:,} finished slides made in {made:.1f} s")  # noqa: T201
        home = Path(folder) / "prefect"
        environment = {"PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT)}
        run = ["-m", "flows.cli", "run", str(inbox), "--out", str(layout.out)]
        for which in ("first, writes the catalog", "second, nothing changed"):
            seconds, said = timed([*run, "--json"], environment)
            found = json.loads(said)
            assert found["n_unchanged"] == n_slides, found["n_unchanged"]
            assert not (home / "prefect.db").exists(), "a server was started"
            print(f"segpipe run, {which}: {seconds}")  # noqa: T201
        flow = ["-c", BY_FLOW, str(inbox), str(layout.out)]
        seconds, said = timed(flow, environment)
        in_flow, state = said.split(maxsplit=1)
        assert state.strip() == f"Completed {{'unchanged': {n_slides}}}", said
        print(f"flow segment-cohort: {float(in_flow):.1f} s")  # noqa: T201
        print(f"  with Prefect's server and imports: {seconds}")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
