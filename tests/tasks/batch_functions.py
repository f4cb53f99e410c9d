"""What test batches do on workers.

Apart from the tests, for a worker imports this file, and one that was killed imports it
again: it shouldn't wait for pytest and torch each time.
"""

import os
import time


def doubled(units):
    return tuple(2 * unit for unit in units)


def failing_twice(folder, units):
    tries = len(list(folder.glob(f"{units[0]}-*")))
    (folder / f"{units[0]}-{tries}").touch()
    if tries < 2:
        raise OSError(5, "Input/output error")
    return units


def failing(folder, error, units):
    (folder / f"{units[0]}-{time.time_ns()}").touch()
    if 8 in units:
        raise error
    return units


def noting_start_and_end(folder, units):
    if units == (8, 9, 10, 11):
        message = "not this one"
        raise ValueError(message)
    (folder / f"start-{units[0]}").touch()
    time.sleep(0.1)
    (folder / f"end-{units[0]}").touch()
    return units


def deadly(folder, units):
    if 13 in units:
        os._exit(9)
    (folder / f"done-{'-'.join(map(str, units))}").touch()
    return units


def deadly_once(folder, units):
    marker = folder / f"died-{units[0]}"
    if units[0] % 16 == 0 and not marker.exists():
        marker.touch()
        os._exit(9)
    return units


def hanging(units):
    if 4 in units:
        time.sleep(600)
    return units


def written(folder, units):
    (folder / str(units[0])).touch()
    time.sleep(0.02)
    return units


def napping(units):
    time.sleep(0.2)
    return units


def sleeping(units):
    time.sleep(0.02)
    return units
