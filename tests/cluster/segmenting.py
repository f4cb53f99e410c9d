"""A driver as a process of its own: says each batch that lands on stdout."""

import sys
from pathlib import Path

from dask_processes import CHOICES, segment_on

from segpipe.config import Settings, SlideRef
from segpipe.stages.events import BatchDone
from tasks.clusters import workers


def say(event):
    if isinstance(event, BatchDone):
        sys.stdout.write(f"{event.stage}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    slide, out, profile = map(Path, sys.argv[1:])
    settings = Settings(**CHOICES, cluster=profile)
    with workers(settings) as cluster:
        segment_on(cluster, SlideRef(id="cut", path=slide), out, settings, say)
