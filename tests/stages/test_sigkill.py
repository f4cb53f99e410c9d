"""A process killed in the middle leaves nothing that a later run wrongly trusts."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

from outcome import same

from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout

CODE = """
import os, sys
from segpipe.config import Settings, SlideRef
from segpipe.stages.slide import segment_slide
slide, settings = SlideRef.model_validate_json(sys.argv[1]), sys.argv[2]
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        segment_slide(slide, sys.argv[3], Settings.model_validate_json(settings))
        os._exit(0)
    print(pid, flush=True)
    os.waitpid(pid, 0)
"""
"""Forks a run for each line that it reads, so that imports are waited for once."""


def test_a_killed_process_is_gone_on_from_to_the_same_bytes(
    undisturbed, crop, settings, tmp_path
):
    moments = random.Random(5)
    arguments = [crop.model_dump_json(), settings.model_dump_json(), str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-c", CODE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forking:
        for _ in range(2):
            forking.stdin.write("run\n")
            forking.stdin.flush()
            pid = int(forking.stdout.readline())
            time.sleep(moments.uniform(0.2, 2.5))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    segment_slide(crop, tmp_path, settings)
    assert Layout(tmp_path).table("crop").exists()
    assert same(undisturbed, tmp_path)
