"""Run a module as a program that doesn't outlive the process that started it.

``python -m tasks.leash MODULE ARGUMENT...`` with a pipe as stdin: when the pipe's other
end closes, because it is closed or because its holder was killed, the program and all
that it started are killed. What they had under way is resumable.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading

import psutil

MARK = "SEGPIPE_LEASH"
"""Variable that everything behind a leash inherits; its value names the holder."""


def marked(mark: str) -> list[psutil.Process]:
    """Return the running processes behind a leash, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone, or someone else's
    return found


def kill_marked(mark: str) -> None:
    """Kill the processes behind a leash, but not the caller."""
    for process in marked(mark):
        if process.pid != os.getpid():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


def _end_with_holder() -> None:
    sys.stdin.read()
    kill_marked(os.environ[MARK])
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_holder, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
