"""What Prefect costs a slide: flow runs of eight tasks that do nothing.

Run as a script. The embedded server, the flow and the tasks are set up as for
``segpipe run`` on a cohort; only the stages are empty. What is left is orchestration.

    python tests/benchmarks/prefect_overhead.py --slides 30
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")

import psutil
from prefect import flow, task

from tasks import policy
from tasks.embedded_server import prefect_api
from tasks.side_by_side import side_by_side

STEPS = ("plan", "tile", "predict", "label", "stitch", "measure", "publish")


@task(task_run_name="{step} {slide}", **policy.STAGE)
def do_nothing(step: str, slide: str) -> None:
    """Be a stage of a slide."""


@flow(name="slide", flow_run_name="{slide}", **policy.FLOW)
def one_slide(slide: str) -> None:
    """Be a slide."""
    for step in STEPS:
        do_nothing(step, slide)


@flow(name="cohort", **policy.FLOW)
def cohort(n_slides: int, at_once: int) -> list[float]:
    """Be a cohort; return when each slide ended."""
    slides = (f"slide-{number}" for number in range(n_slides))
    ended = side_by_side(one_slide, slides, at_once=at_once)
    return [time.perf_counter() for _ in ended]


def cpu_s_of(processes: list[psutil.Process]) -> float:
    """Return the seconds of CPU that processes have used."""
    times = [process.cpu_times() for process in processes]
    return sum(found.user + found.system for found in times)


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=30)
    parser.add_argument("--at-once", type=int, default=1)
    asked = parser.parse_args()
    started = time.perf_counter()
    with prefect_api() as wait_for_api:
        wait_for_api()
        up = time.perf_counter()
        servers = psutil.Process().children()
        cpu, server_cpu = time.process_time(), cpu_s_of(servers)
        cohort(2, 1)  # what only the first flow of a process pays
        warm = time.perf_counter()
        cohort(asked.slides, asked.at_once)
        wall_s = time.perf_counter() - warm
        cpu_s = time.process_time() - cpu
        server_cpu_s = cpu_s_of(servers) - server_cpu
    found = {
        **vars(asked),
        "server_up_s": round(up - started, 1),
        "first_flow_s": round(warm - up, 2),
        "wall_s_per_slide": round(wall_s / asked.slides, 3),
        "driver_cpu_s_per_slide": round(cpu_s / (asked.slides + 2), 3),
        "server_cpu_s_per_slide": round(server_cpu_s / (asked.slides + 2), 3),
    }
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
