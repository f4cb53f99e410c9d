"""Processes of Dask as a user starts them, and slides segmented on them."""

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout
from tasks.mapping import dask_map

CHOICES = {"tile_px": 512, "device": "cpu", "report": False}


def table_bytes(out):
    return Layout(out).table("cut").read_bytes()


def segment_on(cluster, slide, out, settings, listener=lambda _: None):
    """Segment a slide on a cluster; return the bytes of its table."""
    with dask_map(cluster, name="cut") as map_:
        segment_slide(slide, out, settings, map_=map_, listener=listener)
    return table_bytes(out)


def tls_arguments(folder):
    files = {"ca-file": "ca.pem", "cert": "node.pem", "key": "node.key"}
    return [f"--tls-{name}={folder / file}" for name, file in files.items()]


@contextmanager
def dask_processes(*commands, before=()):
    """Run ``dask ...`` commands, each in a process that is killed at the end."""
    with ExitStack() as stack:
        processes = []
        for command in commands:
            line = [*before, sys.executable, "-m", "dask", *map(str, command)]
            process = subprocess.Popen(
                line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        yield processes


def wait_for(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            message = f"{condition} didn't come true within {timeout_s} s"
            raise TimeoutError(message)
        time.sleep(0.1)
