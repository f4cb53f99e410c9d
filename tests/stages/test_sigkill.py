"""A process killed in the middle leaves nothing that a later run wrongly trusts."""

import random
import signal
import subprocess
import sys
import time

from outcome import same

from segpipe.stages.slide import segment_slide
from segpipe.stores.layout import Layout

CODE = """
import sys
from segpipe.config import Settings, SlideRef
from segpipe.stages.slide import segment_slide
slide, settings = SlideRef.model_validate_json(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
segment_slide(slide, sys.argv[3], Settings.model_validate_json(settings))
"""


def test_a_killed_process_is_gone_on_from_to_the_same_bytes(
    undisturbed, crop, settings, tmp_path
):
    moments = random.Random(5)
    for _ in range(2):
        arguments = [crop.model_dump_json(), settings.model_dump_json(), str(tmp_path)]
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, *arguments], stdout=subprocess.PIPE
        )
        with process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0.2, 2.5))
            process.send_signal(signal.SIGKILL)
    segment_slide(crop, tmp_path, settings)
    assert Layout(tmp_path).table("crop").exists()
    assert same(undisturbed, tmp_path)
